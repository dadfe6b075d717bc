"""The fast lane's query alone, Kafka → Kafka: no sink and no push beside it, as the stream processors it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.workspace import Workspace

from ..worker import Worker
from ._contender import Contender


@contextmanager
def running(workspace: Workspace) -> Iterator[Contender]:
    """Run the lane without its sink."""
    with Worker(["bench.latency.lane", str(workspace.root), "real-time"], log=workspace.state / "kafka.log") as lane:
        yield Contender((lane,))
