"""Whose query runs next: tenants take turns, so that one tenant's heavy queries do not hold up another's."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from lakehouse.errors import QuotaError
from lakehouse.serving.sandbox import Cancel

_GLANCE = 0.2  # seconds between two looks at whether the client is still there

T = TypeVar("T")


class Turns:
    """The turns of all tenants in one process; used by one event loop."""

    def __init__(self, slots: int, at_once: int, waiting: int) -> None:
        """Bound what runs, and what a tenant may do.

        Args:
            slots: Queries that run side by side.
            at_once: Those of one tenant among them.
            waiting: Queries of one tenant that may wait for their turn.
        """
        self._slots = slots
        self._at_once = at_once
        self._waiting = waiting
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # in the order in which tenants are next

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it; those of a tenant come in the order in which they were asked for.

        Raises:
            QuotaError: Too many wait already.
        """
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(mine)
        self._start()
        if not mine.done() and len(self._queues[tenant]) > self._waiting:
            self._leave(tenant, mine)
            raise QuotaError(f"{self._waiting} queries of {tenant} wait already; try again later.")
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._leave(tenant, mine)
            else:  # its turn came as it left
                self._end(tenant)
            raise
        try:
            yield
        finally:
            self._end(tenant)

    def _start(self) -> None:
        """Give free slots to tenants that wait, one after the other."""
        while self._running.total() < self._slots:
            tenant = next((name for name in self._queues if self._running[name] < self._at_once), None)
            if tenant is None:
                return
            waiting = self._queues.pop(tenant)
            waiting.popleft().set_result(None)
            self._running[tenant] += 1
            if waiting:
                self._queues[tenant] = waiting  # behind the others

    def _end(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:  # tenants come with tokens; none is kept that asks for nothing
            del self._running[tenant]
        self._start()

    def _leave(self, tenant: str, mine: asyncio.Future[None]) -> None:
        waiting = self._queues[tenant]
        waiting.remove(mine)
        if not waiting:
            del self._queues[tenant]


async def unless_gone(is_gone: Callable[[], Awaitable[bool]], cancel: Cancel, working: asyncio.Future[T]) -> T:
    """Wait for an answer, and cancel it when nobody else waits for it any more."""
    while not (await asyncio.wait([working], timeout=_GLANCE))[0]:
        if await is_gone():
            cancel()
    return await working
