"""One subscriber: a cursor into a feed's ring, and the frames that it is sent.

The next frame is made when the last one was taken, so a client holds no queue here: what it missed meanwhile comes in one frame, cut
to the last row of each key when it is long. Who takes nothing for too long, or falls off the ring, is told and dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import valkey
from pydantic import BaseModel, ConfigDict, Field

from lakehouse.errors import TidemillError
from lakehouse.serving.push.endpoint import OLDEST
from lakehouse.serving.push.feed import Feed
from lakehouse.serving.push.filters import Filter, FilterError
from lakehouse.serving.push.ring import Batch, Encoded, Ring, Wish

COALESCE_ROWS = 500
"""Rows of one frame beyond which only the last of each key is sent."""

_BEAT_SECONDS = 5.0


class Request(BaseModel):
    """What a client asks for, in its first message.

    Attributes:
        filter: Which rows, as :meth:`~lakehouse.serving.push.filters.Filter.read` takes it.
        columns: Which columns; all when empty.
        position: Where it was, from an earlier message; ``oldest``: all rows that are kept; from now on when left out.
        every: Whether it wants every row, in as many frames as that takes, and never only the last one of each key.
        snapshot: Whether it wants the latest state of each key first, and after a gap.
        frame_ms: Shortest time between two frames, milliseconds.
    """

    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Any] = {}
    columns: list[str] = Field([], max_length=500)
    position: str | None = Field(None, max_length=10_000)
    every: bool = False
    snapshot: bool = False
    frame_ms: int = Field(50, ge=0, le=60_000)


class DroppedError(TidemillError):
    """A client is too slow; the message says how."""


class Subscriber:
    """Sends a client what it asked for until it leaves.

    Args:
        feed: The feed.
        request: What it asked for.
        send: Sends a text; comes back when the client has room for more.
        stall_seconds: How long that may take.
    """

    def __init__(self, feed: Feed, request: Request, send: Callable[[str], Awaitable[None]], stall_seconds: float) -> None:
        self._feed = feed
        self._request = request
        self._wish = Wish(Filter.read(request.filter), tuple(request.columns))
        self._send = send
        self._stall_seconds = stall_seconds

    @property
    def columns(self) -> set[str]:
        """The columns that the client names."""
        return self._wish.filter.columns | set(self._request.columns)

    def check(self, known: set[str]) -> None:
        """Look whether the table has the columns that the client names.

        Raises:
            FilterError: It has not.
        """
        if unknown := self.columns - known:
            raise FilterError(f"No column {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}.")

    async def run(self) -> None:
        """Send until the client leaves.

        Raises:
            DroppedError: It is too slow.
        """
        ring = await self._feed.ready()
        await self._put({"type": "hello", "feed": self._feed.spec.name, "keys": self._feed.spec.keys, "position": ring.position})
        cursor = await self._begin(ring)
        while True:
            if not await self._feed.more(ring, cursor, _BEAT_SECONDS):
                await self._put({"type": "beat", "position": ring.position})
                continue
            if self._feed.ring is not ring and self._feed.ring is not None:
                ring = self._feed.ring
                cursor = await self._gap(ring, "The topic was made again, or rows expired unread.")
                continue
            if cursor < ring.oldest:
                raise DroppedError(f"You are more than {ring.head - cursor:,} batches behind: ask for fewer rows or columns.")
            batches = ring.since(cursor)
            cursor = ring.head
            began = time.monotonic()
            await self._rows(ring, batches)
            await asyncio.sleep(max(0.0, self._request.frame_ms / 1000 - (time.monotonic() - began)))

    async def _begin(self, ring: Ring) -> int:
        if self._request.position is not None:
            missed = ring.since(ring.oldest) if self._request.position == OLDEST else ring.after(self._request.position)
            if missed is None:
                return await self._gap(ring, "What came since is no longer kept here.")
            cursor = ring.head
            await self._rows(ring, missed)
            return cursor
        return await self._snapshot(ring) if self._request.snapshot else ring.head

    async def _gap(self, ring: Ring, reason: str) -> int:
        await self._put({"type": "gap", "reason": reason, "position": ring.position})
        return await self._snapshot(ring) if self._request.snapshot else ring.head

    async def _snapshot(self, ring: Ring) -> int:
        cursor, position = ring.head, ring.position
        try:
            rows = await asyncio.to_thread(self._feed.latest, ring, self._wish)
        except valkey.ValkeyError as error:
            raise DroppedError("The latest states cannot be read now; try again in a moment.") from error
        await self._text(_frame({"type": "snapshot", "position": position}, rows))
        return cursor

    async def _rows(self, ring: Ring, batches: list[Batch]) -> None:
        for part in _parts(batches) if self._request.every else [batches]:
            await self._some_rows(ring, part)

    async def _some_rows(self, ring: Ring, batches: list[Batch]) -> None:
        rows = [row for batch in batches for row in batch.wanted(self._wish)]
        if not rows:
            return
        kept = _last_of_each(rows) if len(rows) > COALESCE_ROWS and not self._request.every else rows
        head = {
            "type": "rows",
            "position": ring.position_at(batches[-1].ends),
            "coalesced": len(rows) - len(kept),
            "gated_ms": min(row.gated_ms for row in rows),
        }
        await self._text(_frame(head, [row.text for row in kept]))

    async def _put(self, message: dict[str, Any]) -> None:
        await self._text(orjson.dumps(message).decode())

    async def _text(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._send(text)
        except TimeoutError:
            raise DroppedError(f"You took nothing for {self._stall_seconds:g} seconds.") from None


def _frame(head: dict[str, Any], rows: list[bytes]) -> str:
    return (orjson.dumps(head)[:-1] + b',"rows":[' + b",".join(rows) + b"]}").decode()


def _parts(batches: list[Batch]) -> Iterator[list[Batch]]:
    """Yield batches for one frame after the other; a frame is full with :data:`COALESCE_ROWS` rows."""
    part: list[Batch] = []
    rows = 0
    for batch in batches:
        part.append(batch)
        rows += len(batch.arrivals)
        if rows >= COALESCE_ROWS:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _last_of_each(rows: list[Encoded]) -> list[Encoded]:
    """Return the last row of each key, in the order in which those came."""
    last = {row.key: number for number, row in enumerate(rows)}
    return [rows[number] for number in sorted(last.values())]
