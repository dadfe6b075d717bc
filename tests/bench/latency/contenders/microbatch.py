"""The same query in micro-batches, one after the other as fast as they go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.workspace import Workspace

from ...process import Process, module
from ._contender import Contender


@contextmanager
def running(workspace: Workspace) -> Iterator[Contender]:
    """Run the query with another trigger."""
    with Process(
        module("bench.latency.lane", str(workspace.root), "micro-batch"), log=workspace.state / "microbatch.log"
    ) as lane:
        yield Contender((lane,))
