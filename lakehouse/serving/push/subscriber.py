"""One subscriber: a cursor into a feed's ring, and the frames that it is sent.

The next frame is made when the last one was taken, so a client holds no queue here: what it missed meanwhile comes in one frame, cut
to the last row of each key when it is long. Who takes nothing for too long, or falls off the ring, is told and dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import orjson
import valkey
from pydantic import BaseModel, ConfigDict, Field

from lakehouse.errors import TidemillError
from lakehouse.serving.push.endpoint import OLDEST
from lakehouse.serving.push.feed import Feed
from lakehouse.serving.push.filters import Filter, FilterError
from lakehouse.serving.push.ring import Ring
from lakehouse.serving.push.shown import Shown
from lakehouse.serving.push.stretch import Message, Stretch, frame

_BEAT_SECONDS = 5.0
_LATENCY_SECONDS = 2.0


class Request(BaseModel):
    """What a client asks for, in its first message.

    Attributes:
        filter: Which rows, as :meth:`~lakehouse.serving.push.filters.Filter.read` takes it.
        columns: Which columns; all when empty.
        position: Where it was, from an earlier message; ``oldest``: all rows that are kept; from now on when left out.
        every: Whether it wants every row, in as many frames as that takes, and never only the last one of each key.
        snapshot: Whether it wants the latest state of each key first, and after a gap.
        frame_ms: Shortest time between two frames, milliseconds.
        latency: Whether it wants to hear, every few seconds, how old rows are at each hop.
        purpose: What for, where the policy asks.
    """

    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Any] = {}
    columns: list[str] = Field([], max_length=500)
    position: str | None = Field(None, max_length=10_000)
    every: bool = False
    snapshot: bool = False
    frame_ms: int = Field(50, ge=0, le=60_000)
    latency: bool = False
    purpose: str | None = Field(None, max_length=200)


class DroppedError(TidemillError):
    """A client is too slow; the message says how."""


class Subscriber:
    """Sends a client what it asked for until it leaves.

    Args:
        feed: The feed.
        request: What it asked for.
        send: Sends a text; comes back when the client has room for more.
        stall_seconds: How long that may take.
        shown: What the policy shows of the rows; ``None``: all.

    Attributes:
        rows: How many rows it was sent.
    """

    def __init__(
        self,
        feed: Feed,
        request: Request,
        send: Callable[[str], Awaitable[None]],
        stall_seconds: float,
        shown: Shown | None = None,
    ) -> None:
        self._feed = feed
        self._request = request
        self._wish = feed.wish(Filter.read(request.filter), tuple(request.columns), request.every, shown)
        self._pulse = feed.pulse(request.frame_ms)
        self._send = send
        self._stall_seconds = stall_seconds
        self._sent = self._told_at = 0.0
        self.rows = 0

    @property
    def columns(self) -> set[str]:
        """The columns that the client names."""
        return self._wish.filter.columns | set(self._request.columns)

    def check(self, known: Collection[str]) -> None:
        """Look whether the table has the columns that the client names.

        Raises:
            FilterError: It has not.
        """
        if unknown := self.columns - set(known):
            raise FilterError(f"No column {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}.")

    async def run(self) -> None:
        """Send until the client leaves.

        Raises:
            DroppedError: It is too slow.
        """
        ring = await self._feed.ready()
        shown = self._wish.shown
        keys = [name for name in self._feed.spec.keys if shown is None or name in shown.columns]
        await self._put({"type": "hello", "feed": self._feed.spec.name, "keys": keys, "position": ring.position})
        cursor = await self._begin(ring)
        woken = -1
        while True:
            woken = await self._pulse.after(woken)
            if self._feed.ring is not ring and self._feed.ring is not None:
                ring = self._feed.ring
                cursor = await self._gap(ring, "The topic was made again, or rows expired unread.")
            elif cursor < ring.oldest:
                raise DroppedError(f"You are more than {ring.head - cursor:,} batches behind: ask for fewer rows or columns.")
            elif cursor < ring.head:
                stretches, cursor = self._since(ring, cursor), ring.head
                for stretch in stretches:
                    if (message := await self._rows(stretch)) is not None:
                        self._record(message)
            await self._latency()
            if time.monotonic() - self._sent >= _BEAT_SECONDS:  # also when rows come, and none that it wants
                await self._put({"type": "beat", "position": ring.position})

    async def _begin(self, ring: Ring) -> int:
        if self._request.position == OLDEST:
            stretches, cursor = self._since(ring, ring.oldest), ring.head
            for stretch in stretches:
                await self._rows(stretch)
            return cursor
        if self._request.position is not None:
            missed = ring.after(self._request.position)
            if missed is None:
                return await self._gap(ring, "What came since is no longer kept here.")
            stretch, cursor = missed
            await self._rows(stretch)
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
        await self._text(frame({"type": "snapshot", "position": position}, rows))
        self.rows += len(rows)
        return cursor

    def _since(self, ring: Ring, cursor: int) -> Iterable[Stretch]:
        """Return what came since: each batch for itself for those who want every row, and who may have many to take."""
        return ring.each_since(cursor) if self._request.every else [ring.since(cursor)]

    async def _rows(self, stretch: Stretch) -> Message | None:
        """Send the rows that are wanted; returns what was sent."""
        if (message := stretch.message(self._wish)) is not None:
            await self._text(message.text)
            self.rows += message.rows
        return message

    def _record(self, message: Message) -> None:
        """Count how old rows are that were sent as they came; a message is as old as its oldest row."""
        now = time.time_ns() // 1000
        self._feed.watch.record("gate_to_socket", [message.gated_ms * 1000], now)
        self._feed.watch.record("producer_to_socket", [] if message.sent_us is None else [message.sent_us], now)

    async def _latency(self) -> None:
        """Say how old rows are at each hop, to those who asked for that, now and then."""
        if self._request.latency and time.monotonic() - self._told_at >= _LATENCY_SECONDS:
            self._told_at = time.monotonic()
            await self._put({"type": "latency", "hops": {name: hop.model_dump() for name, hop in self._feed.hops.items()}})

    async def _put(self, message: dict[str, Any]) -> None:
        await self._text(orjson.dumps(message).decode())

    async def _text(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._send(text)
        except TimeoutError:
            raise DroppedError(f"You took nothing for {self._stall_seconds:g} seconds.") from None
        self._sent = time.monotonic()
