"""The policy of a workspace: who may see which rows and columns of which tables, with which values hidden, and for what.

It is data, ``policy.yml``, read as a whole or not at all, and it denies what it does not grant. See ``docs/security.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lakehouse.errors import AccessDeniedError, PolicyError
from lakehouse.security.users import User, Value, mistakes
from lakehouse.workspace import Workspace

FILE = "policy.yml"
ALL = "*"
OPERATORS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "in": "in"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Claim(_Part):
    """A value, or several, that the user's token brings."""

    claim: str = Field(min_length=1)


class Condition(_Part):
    """What a row must fulfil to be seen: a column compared with constants, or with what the user's token says.

    A null fulfils nothing. A claim that the user does not have is fulfilled by no row.
    """

    column: str = Field(min_length=1)
    eq: Value | Claim | None = None
    ne: Value | Claim | None = None
    lt: Value | Claim | None = None
    le: Value | Claim | None = None
    gt: Value | Claim | None = None
    ge: Value | Claim | None = None
    among: list[Value] | Claim | None = Field(None, alias="in")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set - {"column"}) != 1:
            raise ValueError(f"a condition compares its column once, with one of {', '.join(OPERATORS)}")
        return self

    def of(self, user: User) -> Test:
        """Return the condition with the user's own values."""
        (name,) = self.model_fields_set - {"column"}
        right: Any = getattr(self, name)
        if isinstance(right, Claim):
            values = tuple(user.attributes.get(right.claim, ()))
        else:
            values = tuple(right) if isinstance(right, list) else (right,)
        return Test(self.column, "in" if name == "among" else name, values)


class Partial(_Part):
    """A text of which only the ends are shown."""

    first: int = Field(0, ge=0, le=1_000)
    last: int = Field(0, ge=0, le=1_000)


class Mask(_Part):
    """What is shown in place of a value; just one of these.

    Attributes:
        null: Nothing.
        hash: A keyed digest (HMAC-SHA-256) of a text or a whole number: equal values of one tenant stay equal, and joinable.
        partial: The ends of a text, stars between.
        range: The lower bound of the range of this width that a number is in.
        truncate: The beginning of the day, month or so that a moment is in.
    """

    null: Literal[True] | None = None
    hash: Literal[True] | None = None
    partial: Partial | None = None
    range: Annotated[int | float, Field(gt=0)] | None = None
    truncate: Literal["minute", "hour", "day", "week", "month", "quarter", "year"] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in self.__dict__.values()) != 1:
            raise ValueError("a mask is just one of null, hash, partial, range and truncate")
        return self

    @property
    def kind(self) -> str:
        """Which one it is."""
        return next(name for name, value in self.__dict__.items() if value is not None)


def _mask(written: Any) -> Any:
    """Take ``hash`` for ``{hash: true}``, and a null for the null mask, which is what YAML reads."""
    if written is None:
        return {"null": True}
    return {written: True} if written in ("hash", "null") else written


def _table(pattern: str) -> str:
    layer, dot, name = pattern.partition(".")
    if pattern != ALL and not (layer and dot and name and ALL not in layer and (name == ALL or ALL not in name)):
        raise ValueError(f"{pattern} is no table: write layer.name, layer.* or *")
    return pattern


class Anonymous(_Part):
    """What makes rows anonymous: those are left out that look like too few others.

    Attributes:
        k: How many persons must look alike.
        by: Columns by which somebody could be recognized from outside, as they are shown, masks and all.
        person: Column that tells persons apart; each row counts as one when left out.
    """

    k: int = Field(ge=2)
    by: list[str] = Field(min_length=1)
    person: str | None = None


class Grant(_Part):
    """What a role may see of some tables."""

    tables: list[Annotated[str, AfterValidator(_table)]] = Field(min_length=1)
    columns: Literal["*"] | list[str]
    rows: list[Condition] = []
    masks: dict[str, Annotated[Mask, BeforeValidator(_mask)]] = {}
    purposes: list[str] | None = None
    reveal: dict[str, str] = {}
    anonymous: Anonymous | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.anonymous is not None and (self.columns == ALL or not set(self.anonymous.by) <= set(self.columns)):
            raise ValueError("what is anonymous names its columns one by one, and those of `by` are among them")
        return self

    def covers(self, table: str) -> bool:
        """Whether it says something of a table."""
        layer = table.partition(".")[0]
        return any(pattern in (ALL, f"{layer}.{ALL}", table) for pattern in self.tables)


class _Roles(_Part):
    roles: dict[str, list[Grant]]


@dataclass(frozen=True)
class Test:
    """A condition with one user's values: ``column operator values``; without values nothing fulfils it."""

    column: str
    operator: str
    values: tuple[Value, ...]

    @property
    def of_all(self) -> bool:
        """Whether the comparison must hold with all values, rather than with one of them."""
        return self.operator == "ne"


@dataclass(frozen=True)
class View:
    """What one user may see of one table.

    Attributes:
        table: ``layer.name``.
        role: The role that gives it.
        columns: Lower-case names; ``None``: all that the table has.
        masks: Lower-case name → its mask.
        rows: What each row fulfils.
        tenant: Whose key masks use.
        reveal: Lower-case name of a sealed column → the table that it was sealed in. Masks are of what is revealed.
        anonymous: What makes its rows anonymous.
    """

    table: str
    role: str
    columns: frozenset[str] | None
    masks: Mapping[str, Mask]
    rows: tuple[Test, ...]
    tenant: str
    reveal: Mapping[str, str] = field(default_factory=dict)
    anonymous: Anonymous | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it shows the table as it is."""
        return self.columns is None and not self.masks and not self.rows and not self.reveal

    @property
    def key(self) -> str:
        """The same for all to whom a table is shown alike."""
        columns = None if self.columns is None else sorted(self.columns)
        return repr(
            (self.table, self.tenant, columns, sorted(self.masks.items()), self.rows, sorted(self.reveal.items()), self.anonymous)
        )

    def shows(self, column: str) -> bool:
        """Whether a column is there at all."""
        return self.columns is None or column.lower() in self.columns


class Policy:
    """What a workspace's ``policy.yml`` says."""

    def __init__(self, text: str, origin: str = FILE) -> None:
        """Read a policy.

        Args:
            text: YAML.
            origin: What it is called in messages.

        Raises:
            PolicyError: It is not one; the message says where.
        """
        try:
            self._roles = _Roles.model_validate(YAML(typ="safe").load(text), by_alias=True).roles
        except YAMLError as error:
            raise PolicyError(f"{origin} is no YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            raise PolicyError("\n".join([f"{origin} is no policy:", *mistakes(error)])) from error
        self.version = hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def load(cls, workspace: Workspace) -> Policy:
        """Read the policy of a workspace.

        Raises:
            PolicyError: There is none, or it is wrong.
        """
        file = workspace.tables / FILE
        try:
            return cls(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{file} cannot be read, so nobody may see anything: {error}") from error

    @property
    def grants(self) -> Mapping[str, list[Grant]]:
        """Role → its grants, in the order in which they are looked at."""
        return self._roles

    def view(self, user: User, table: str, purpose: str | None = None) -> View:
        """Return what a user may see of a table: the first grant on it, of the first role of the policy that the user has.

        Args:
            user: Who asks.
            table: ``layer.name``.
            purpose: What for.

        Raises:
            AccessDeniedError: Nothing.
        """
        granted = [(role, x) for role, grants in self._roles.items() if role in user.roles for x in grants if x.covers(table)]
        if not granted:
            raise AccessDeniedError(f"{user.name} may not see {table}.")
        role, grant = granted[0]
        if grant.purposes is not None and purpose not in grant.purposes:
            raise AccessDeniedError(
                f"{user.name} may see {table} for {', '.join(grant.purposes) or 'no purpose'}, and asked for {purpose or 'none'}."
            )
        return View(
            table=table,
            role=role,
            columns=None if grant.columns == ALL else frozenset(name.lower() for name in grant.columns),
            masks={name.lower(): mask for name, mask in grant.masks.items()},
            rows=tuple(condition.of(user) for condition in grant.rows),
            tenant=user.tenant,
            reveal={name.lower(): table for name, table in grant.reveal.items()},
            anonymous=grant.anonymous,
        )

    def visible(self, user: User, tables: Iterable[str], purpose: str | None = None) -> dict[str, View]:
        """Return the tables that a user may see something of."""
        views = {}
        for table in tables:
            try:
                views[table] = self.view(user, table, purpose)
            except AccessDeniedError:
                continue
        return views

    def check(self, tables: Collection[str]) -> None:
        """Look whether every table that is named by its whole name exists.

        Raises:
            PolicyError: One does not: a grant on a name that is misspelt would silently grant nothing.
        """
        named = {name for grants in self._roles.values() for grant in grants for name in grant.tables if ALL not in name}
        if unknown := sorted(named - set(tables)):
            raise PolicyError(f"The policy names {', '.join(unknown)}; there are: {', '.join(sorted(tables)) or 'none'}.")
