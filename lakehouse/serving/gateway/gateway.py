"""Answer a user's question: with their view of each table, and on record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

from lakehouse.clients import postgres_dsn
from lakehouse.errors import AuthenticationError, UnknownNameError
from lakehouse.livetables import served_tables
from lakehouse.security.audit import Audit
from lakehouse.security.hotroles import HotRoles
from lakehouse.security.issuer import LocalIssuer
from lakehouse.security.policy import FILE, Policy, View
from lakehouse.security.users import User
from lakehouse.serving.gateway.cache import Cache, Remembered
from lakehouse.serving.governed import GovernedSource, govern
from lakehouse.serving.held import Holding
from lakehouse.serving.hot import HotSource, HotStore, no_versions
from lakehouse.serving.query import QueryResult, answer
from lakehouse.serving.revealed import Reveal
from lakehouse.serving.sandbox import Cancel, Sandboxes
from lakehouse.serving.statement import fingerprint
from lakehouse.serving.tables import GuardedSource, Recent, lake, lake_locator
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Question:
    """What a user asks.

    Attributes:
        sql: One SELECT.
        parameters: Values of ``$name`` or ``$1`` in it.
        purpose: What for.
        versions: Tables to read at an older version.
        limit: Most rows.
        timeout: Seconds after which it is given up.
    """

    sql: str
    parameters: Mapping[str, Any] | Sequence[Any] | None = None
    purpose: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    limit: int = 1_000
    timeout: float = 60.0


class Gateway:
    """A workspace's data, as its policy shows it; safe to share between threads."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        audit: Audit,
        master: bytes,
        cache: Cache | None = None,
        reveal: Callable[[], Reveal] | None = None,
        sandboxes: Sandboxes | None = None,
    ) -> None:
        """Open the door.

        Args:
            workspace: Whose tables and policy.
            settings: Where the servers are.
            audit: Where it is written down.
            master: The secret that keys of masks are made of.
            cache: Answers that were given before; ``None``: none are kept.
            reveal: Returns what opens what is sealed.
            sandboxes: What answers are computed in.

        Raises:
            PolicyError: The policy is missing or wrong.
        """
        self._workspace = workspace
        self._audit = audit
        self._master = master
        self._max_bytes = settings.gateway.max_mb * 1_000_000
        recent = Recent(lake(lake_locator(settings)), settings.gateway.fresh_seconds)
        self._lake = Holding(recent, settings.gateway.hold_mb * 1_000_000)
        self._cache = cache
        self._reveal = reveal
        self._sandboxes = sandboxes or Sandboxes(settings.gateway.at_once)
        self._tables: tuple[float, list[str]] = (-inf, [])
        dsn = postgres_dsn(settings)
        self._hot = HotStore(dsn, settings.gateway.at_once)
        self._roles = HotRoles(dsn, master)
        self._guard = threading.Lock()
        self._policy = Policy.load(workspace)
        self._read = self._stamp()
        audit.record({"kind": "policy", "policy": self._policy.version})

    def close(self) -> None:
        """Let go of the hot store, and of what answers were computed in."""
        self._hot.close()
        self._sandboxes.close()

    @property
    def policy(self) -> Policy:
        """The policy as it is now; one that was changed and is wrong lets nobody see anything.

        Raises:
            PolicyError: It is missing or wrong.
        """
        with self._guard:
            if (stamp := self._stamp()) != self._read:
                policy = Policy.load(self._workspace)
                if policy.version != self._policy.version:
                    self._audit.record({"kind": "policy", "policy": policy.version})
                self._policy, self._read = policy, stamp
            return self._policy

    def views(self, user: User, purpose: str | None = None) -> dict[str, View]:
        """Return what a user may see, by table."""
        return self.policy.visible(user, self._served(), purpose)

    def ask(self, user: User, question: Question, cancel: Cancel | None = None) -> QueryResult:
        """Answer a question; when this returns, it is on record.

        Args:
            user: Who asks.
            question: What.
            cancel: What gives it up before its time.

        Raises:
            QueryRefusedError: It is not one SELECT over tables that the user may see.
            QueryFailedError: It cannot be answered.
            AccessDeniedError: The policy does not fit a table.
            AuditError: It could not be written down, so it is not answered.
        """
        policy = self.policy
        entry = {
            "kind": "query",
            "user": user.name,
            "tenant": user.tenant,
            "roles": user.roles,
            "purpose": question.purpose,
            "policy": policy.version,
            "fingerprint": fingerprint(question.sql),
        }
        views = policy.visible(user, self._served(), question.purpose)
        read: dict[str, list[str]] = {}
        try:
            result = answer(
                question.sql,
                list(views),
                self._opening(views, read),
                parameters=question.parameters,
                versions=question.versions,
                limit=question.limit,
                timeout=question.timeout,
                max_bytes=self._max_bytes,
                memory=Remembered(self._cache, user.tenant, views, read, self._lake.latest) if self._cache else None,
                cancel=cancel,
                sandboxes=self._sandboxes,
            )
        except Exception as error:
            self._audit.record({**entry, **_accessed(views, read), "outcome": type(error).__name__})
            raise
        self._audit.record(
            {
                **entry,
                **_accessed(views, read),
                "versions": result.versions,
                "rows": result.table.num_rows,
                "cached": result.cached,
                "outcome": "answered",
            }
        )
        return result

    def note(self, entry: Mapping[str, Any]) -> None:
        """Put on record what happens elsewhere by this policy.

        Raises:
            AuditError: It cannot be.
        """
        self._audit.record(entry)

    def sign_in(self, issuer: LocalIssuer, name: str, password: str) -> str:
        """Return a token for a name and a password; that somebody tried is on record.

        Raises:
            AuthenticationError: The password is not that user's, or there is no such user.
        """
        try:
            token = issuer.login(name, password)
        except AuthenticationError:
            self._audit.record({"kind": "login", "outcome": "AuthenticationError"})  # what was typed may be a password
            raise
        self._audit.record({"kind": "login", "user": name, "outcome": "answered"})
        return token

    def table(self, user: User, name: str, purpose: str | None = None) -> tuple[View, GovernedSource]:
        """Return one table as a user may see it; that somebody looked is on record.

        Raises:
            UnknownNameError: There is no such table for this user.
        """
        views = self.views(user, purpose)
        self._audit.record(
            {
                "kind": "table",
                "user": user.name,
                "tenant": user.tenant,
                "table": name if name in views else None,
                "purpose": purpose,
            }
        )
        if name not in views:
            raise UnknownNameError(f"There is no table {name}; there are: {', '.join(views) or 'none'}.")
        return views[name], self._opening(views, {})(name, None)

    def _opening(self, views: Mapping[str, View], read: dict[str, list[str]]) -> Callable[[str, int | None], GovernedSource]:
        """Return what opens tables behind their views, and notes which columns are read."""

        def open_source(name: str, version: int | None) -> GuardedSource:
            if not name.startswith("live."):
                return self._lake(name, version)
            if version is not None:
                raise no_versions(name)
            return HotSource(self._hot, name.removeprefix("live."), views[name], self._roles)

        def note(name: str, columns: Sequence[str]) -> None:
            read[name] = list(columns)

        return govern(open_source, views, self._master, note, self._reveal)

    def _served(self) -> list[str]:
        """Return the tables that there are; the workspace's files are looked at once a second."""
        looked_at, found = self._tables
        if monotonic() - looked_at > _LOOK_SECONDS:
            found = served_tables(self._workspace)
            self._tables = monotonic(), found
        return found

    def _stamp(self) -> object:
        try:
            found = (self._workspace.tables / FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _accessed(views: Mapping[str, View], read: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what an answer was made of: tables with their columns, and those for which persons' keys were used."""
    opened = {name: [x for x in columns if x.lower() in views[name].reveal] for name, columns in read.items()}
    return {"tables": dict(read), **({"revealed": opened} if any(opened.values()) else {})}
