"""Connections that are kept for whoever needs the same one next: making one takes longer than most questions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Idle connections by what they are to; safe to share between threads."""

    def __init__(self, make: Callable[[str], T], close: Callable[[T], object], most: int) -> None:
        """Keep some.

        Args:
            make: Connects, by a connection string.
            close: Lets go of a connection.
            most: How many wait at most; those that waited longest are closed.
        """
        self._make = make
        self._close = close
        self._most = most
        self._guard = threading.Lock()
        self._idle: deque[tuple[str, T]] = deque()

    def take(self, dsn: str) -> tuple[T, bool]:
        """Return a connection for one thread, and whether somebody used it before: then the server may have closed it."""
        with self._guard:
            for place in range(len(self._idle) - 1, -1, -1):
                if self._idle[place][0] == dsn:
                    found = self._idle[place][1]
                    del self._idle[place]
                    return found, True
        return self._make(dsn), False

    def give(self, dsn: str, connection: T) -> None:
        """Take a connection back that is as it was."""
        with self._guard:
            self._idle.append((dsn, connection))
            old = [self._idle.popleft()[1] for _ in range(len(self._idle) - self._most)]
        for other in old:
            self.drop(other)

    def drop(self, connection: T) -> None:
        """Close a connection that something went wrong with."""
        with suppress(Exception):
            self._close(connection)

    def close(self) -> None:
        """Close those that wait."""
        with self._guard:
            old, self._idle = list(self._idle), deque()
        for _, connection in old:
            self.drop(connection)
