"""Wakes many subscribers at once: who is woken together needs the same rows, so these are matched and written once.

After a pulse it rests as long as serving the subscribers took. The more there are, the fewer and larger are their messages, and half of
the time is left for what else the process does, and for the programs that read.
"""

from __future__ import annotations

import asyncio


class Pulse:
    """Wakes all who wait when it is told to, but never twice within some time.

    Args:
        seconds: The shortest time between two times.

    Attributes:
        count: How often it did.
    """

    def __init__(self, seconds: float) -> None:
        self.count = 0
        self._seconds = seconds
        self._due = 0.0
        self._planned = False
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Wake those who wait, as soon as may be; called in their event loop."""
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_at(self._due, self._wake)

    async def after(self, count: int) -> int:
        """Wait until it woke oftener than ``count`` times; returns how often it did."""
        while self.count <= count:
            await self._bell.wait()
        return self.count

    def _wake(self) -> None:
        self._planned = False
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._due = began + self._seconds
        self.count += 1
        self._bell.set()
        self._bell = asyncio.Event()
        loop.call_soon(self._rest, began)  # behind all that were just woken

    def _rest(self, began: float) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now + now - began)
