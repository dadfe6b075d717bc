"""The fast lane's query alone, Kafka → Kafka: no sink and no push beside it, as the stream processors it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lakehouse.workspace import Workspace

from ...process import Process, module
from ._contender import Contender


@contextmanager
def running(workspace: Workspace, environment: Mapping[str, str] | None = None) -> Iterator[Contender]:
    """Run the lane without its sink.

    Args:
        workspace: The workspace.
        environment: Settings that are not the workspace's.
    """
    command = module("bench.latency.lane", str(workspace.root), "real-time")
    with Process(command, log=workspace.state / "lane.log", environment=environment) as lane:
        yield Contender((lane,))


@contextmanager
def standing_by(workspace: Workspace, environment: Mapping[str, str]) -> Iterator[Process]:
    """Warm a lane up; it runs when it is told so."""
    command = module("bench.latency.lane", str(workspace.root), "stand-by")
    with Process(command, log=workspace.state / "spare.log", environment=environment) as spare:
        spare.next("ready")
        yield spare
