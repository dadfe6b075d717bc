"""What every contender is, once it runs."""

from __future__ import annotations

from dataclasses import dataclass

from ...process import Process

SOURCE = "events"
LIVE = "events.live"


@dataclass(frozen=True)
class Contender:
    """A contender that reads the source topic.

    Attributes:
        workers: Its processes.
        topic: Where its rows come out.
        has_stores: Whether they also go to the hot store and to WebSocket clients.
    """

    workers: tuple[Process, ...]
    topic: str = LIVE
    has_stores: bool = False
