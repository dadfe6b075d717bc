"""Subscribers who come with a token of their own: what the policy shows them, for how long, and on record."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from lakehouse.errors import AccessDeniedError, TidemillError
from lakehouse.livetables import feeds_among
from lakehouse.security.keys import mask_key
from lakehouse.security.policy import View
from lakehouse.security.users import User
from lakehouse.serving.gateway.door import Door, opened
from lakehouse.serving.push.shown import Shown
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guest:
    """One subscription of a user.

    Attributes:
        user: Whose.
        shown: What they see of the rows.
        policy: The version of the policy that says so.
        entry: What the record says of it.
    """

    user: User
    shown: Shown
    policy: str
    entry: Mapping[str, Any]


def no_such(feed: str, feeds: Collection[str]) -> str:
    """Return what is said of a live table that is not there, with those that are."""
    return f"There is no live table {feed[:60]!r}; there are: {', '.join(feeds) or 'none'}."


class Guests:
    """Lets users in, by the same tokens and policy as the gateway; safe to share between threads."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        """Know where policy and users are; nothing is read before the first one comes."""
        self._workspace = workspace
        self._settings = settings
        self._held = ExitStack()
        self._guard = threading.Lock()
        self._opened: Door | None = None
        self._policy: str | None = None
        self._shown: WeakValueDictionary[str, Shown] = WeakValueDictionary()

    def admit(self, token: str) -> User:
        """Return who a token says that they are.

        Raises:
            AuthenticationError: It is not valid here.
            TidemillError: Nobody can say.
        """
        return self._door.identity.user(token)

    def seat(self, user: User, feed: str, types: Mapping[str, str], purpose: str | None, columns: list[str]) -> Guest:
        """Return what a user sees of a live table; when this returns, it is on record.

        Args:
            user: Who.
            feed: Which one.
            types: Column → type of PostgreSQL.
            purpose: What for.
            columns: Those that are asked for; all when empty.

        Raises:
            AccessDeniedError: Nothing, or the policy does not fit the table.
            TidemillError: The policy cannot be read, or the record cannot be written.
        """
        gateway, name = self._door.gateway, f"live.{feed}"
        policy, views = gateway.policy.version, gateway.views(user, purpose)
        entry = {
            "kind": "live",
            "user": user.name,
            "tenant": user.tenant,
            "roles": user.roles,
            "purpose": purpose,
            "policy": policy,
            "tables": {name: columns} if name in views else {},
        }
        try:
            if name not in views:
                raise AccessDeniedError(no_such(feed, feeds_among(views)))
            shown = self._shared(views[name], types)
        except AccessDeniedError:
            gateway.note({**entry, "outcome": "AccessDeniedError"})
            raise
        entry["tables"] = {name: columns or shown.columns}
        gateway.note({**entry, "outcome": "begun"})
        self._policy = policy
        return Guest(user, shown, policy, entry)

    def look(self) -> None:
        """Look whether the policy is still the same; called once a second."""
        if self._opened is not None:
            try:
                self._policy = self._opened.gateway.policy.version
            except TidemillError:
                self._policy = None

    def is_welcome(self, guest: Guest) -> bool:
        """Say whether a guest may stay: as long as the token is good, and the policy is the one by which they came."""
        return guest.policy == self._policy and (guest.user.until is None or time.time() < guest.user.until)

    def leave(self, guest: Guest, rows: int) -> None:
        """Put on record that a guest left, and how many rows they were sent."""
        try:
            self._door.gateway.note({**guest.entry, "rows": rows, "outcome": "ended"})
        except TidemillError:
            log.warning("That %s left is not on record", guest.user.name, exc_info=True)

    def close(self) -> None:
        """Let go of the servers."""
        self._held.close()

    @property
    def _door(self) -> Door:
        with self._guard:
            if self._opened is None:
                self._opened = self._held.enter_context(opened(self._workspace, self._settings))
            return self._opened

    def _shared(self, view: View, types: Mapping[str, str]) -> Shown:
        """Return what rows are made of for all whose view is the same: their work is shared."""
        key = repr((view.key, sorted(types.items())))
        with self._guard:
            if (shown := self._shown.get(key)) is None:
                shown = self._shown[key] = Shown(view, types, mask_key(self._workspace))
            return shown
