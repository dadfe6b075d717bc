"""Whose query runs next: each tenant has turns of its own, so that one tenant's heavy queries do not hold up another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lakehouse.errors import QuotaError


class Turns:
    """The turns of all tenants in one process; used by one event loop."""

    def __init__(self, at_once: int, waiting: int) -> None:
        """Bound what a tenant may do.

        Args:
            at_once: Queries of one tenant that run side by side.
            waiting: Queries of one tenant that may wait for their turn.
        """
        self._at_once = at_once
        self._waiting = waiting
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._asked: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it; those of a tenant come in the order in which they were asked for.

        Raises:
            QuotaError: Too many wait already.
        """
        asked = self._asked.get(tenant, 0)
        if asked >= self._at_once + self._waiting:
            raise QuotaError(f"{self._waiting} queries of {tenant} wait already; try again later.")
        self._asked[tenant] = asked + 1
        try:
            async with self._turns.setdefault(tenant, asyncio.Semaphore(self._at_once)):
                yield
        finally:
            self._asked[tenant] -= 1
            if not self._asked[tenant]:  # tenants come with tokens; none is kept that asks for nothing
                del self._asked[tenant], self._turns[tenant]
