"""Who asks: a name, a tenant, roles, and attributes that a policy can compare rows with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lakehouse.errors import PolicyError, UnknownNameError
from lakehouse.workspace import Workspace

FILE = "users.yml"
Value = str | int | float | bool | date | datetime


@dataclass(frozen=True)
class User:
    """Somebody who was let in.

    Attributes:
        name: As the identity provider calls them.
        tenant: Whose data they work with; keys of masks and caches are a tenant's own.
        roles: What the policy gives grants to.
        attributes: Claims that a policy compares rows with, each with its values.
        until: When their token is worth nothing any more, seconds since 1970; ``None``: they have none.
    """

    name: str
    tenant: str
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    until: float | None = field(default=None, compare=False)


class _User(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    tenant: str
    roles: list[str] = []
    attributes: dict[str, list[Value] | Value] = {}


class _Users(BaseModel):
    model_config = ConfigDict(extra="forbid")

    users: dict[str, _User]


def mistakes(error: ValidationError) -> list[str]:
    """Return what is wrong with a file, a line for each place."""
    return [f"{'.'.join(str(x) for x in e['loc']) or 'the whole'}: {e['msg']}" for e in error.errors(include_url=False)]


def local_users(workspace: Workspace) -> dict[str, User]:
    """Return the users that a workspace declares itself, in ``users.yml``, by name; none without that file.

    Raises:
        PolicyError: The file is wrong.
    """
    file = workspace.tables / FILE
    try:
        found = _Users.model_validate(YAML(typ="safe").load(file.read_text(encoding="utf-8"))).users
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise PolicyError("\n".join([f"{file} does not declare users:", *mistakes(error)])) from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise PolicyError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    return {
        name: User(
            name=name,
            tenant=user.tenant,
            roles=tuple(user.roles),
            attributes={key: tuple(value) if isinstance(value, list) else (value,) for key, value in user.attributes.items()},
        )
        for name, user in found.items()
    }


def local_user(workspace: Workspace, name: str) -> User:
    """Return one of :func:`local_users`.

    Raises:
        UnknownNameError: There is none of that name.
        PolicyError: The file is wrong.
    """
    users = local_users(workspace)
    if name not in users:
        raise UnknownNameError(
            f"There is no user {name} in {workspace.tables / FILE}; there are: {', '.join(sorted(users)) or 'none'}."
        )
    return users[name]
