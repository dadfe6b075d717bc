"""Visitors of pages who signed in: who they are, and what they may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import httpx2 as httpx

from lakehouse.clients import trusting
from lakehouse.errors import ServeError, SettingsError
from lakehouse.livetables import served_tables
from lakehouse.security.identity import Identity, discovered
from lakehouse.security.policy import Policy, View
from lakehouse.serving.gateway.endpoint import trusted
from lakehouse.settings import OidcSettings, Settings
from lakehouse.workspace import Workspace


@dataclass(frozen=True)
class Provider:
    """Where people sign in.

    Attributes:
        authorize_url: Where they are sent.
        token_url: Where a code is changed for tokens.
        ca: PEM file of the authority of its certificate; ``None``: one that the system knows.
    """

    authorize_url: str
    token_url: str
    ca: str | None = None

    @classmethod
    def of(cls, workspace: Workspace) -> Provider:
        """Ask the provider of a workspace, which is the gateway where no other one is set.

        Raises:
            ServeError: It does not answer.
        """
        try:
            oidc = trusted(workspace, Settings.load(workspace))
            issuer = str(oidc.issuer)
        except SettingsError as error:
            raise ServeError("Nobody can sign in before a gateway ran: run `tidemill run --lane gateway`.") from error
        try:
            with httpx.Client(verify=trusting(oidc.ca)) as client:
                found = discovered(client, issuer)
            return cls(str(found["authorization_endpoint"]), str(found["token_endpoint"]), str(oidc.ca) if oidc.ca else None)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ServeError(f"Nobody can sign in, for {issuer} does not answer: run `tidemill run --lane gateway`.") from error


@dataclass(frozen=True)
class Visitor:
    """Somebody who signed in.

    Attributes:
        name: As the provider calls them.
        token: What they bring to the gateway and the push service.
        views: ``layer.name`` → what they see of it.
        tables: ``layer.name`` of all tables.
    """

    name: str
    token: str
    views: Mapping[str, View]
    tables: tuple[str, ...]

    def sees_whole(self, table: str) -> bool:
        """Whether nothing of a table is hidden from them."""
        return table in self.views and self.views[table].is_whole

    @property
    def sees_all(self) -> bool:
        """Whether nothing of any table is hidden from them."""
        return all(self.sees_whole(table) for table in self.tables)


def visitor(workspace: Workspace, token: str) -> Visitor:
    """Return who a token says that they are, as the policy is now.

    Raises:
        AuthenticationError: It is not valid, or no more.
        TidemillError: Nobody can say, or the policy is wrong.
    """
    user = _identity(trusted(workspace, Settings.load(workspace)).model_dump_json()).user(token)
    tables = served_tables(workspace)
    return Visitor(user.name, token, Policy.load(workspace).visible(user, tables), tuple(tables))


@cache
def _identity(oidc: str) -> Identity:
    """Return the one that knows a provider's users: it keeps the provider's keys."""
    return Identity(OidcSettings.model_validate_json(oidc))
