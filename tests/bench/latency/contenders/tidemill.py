"""The fast lane with its sink, and the push service, as users run them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.workspace import Workspace

from ...errors import BenchError
from ...process import Process, module
from ._contender import Contender

_PATIENCE = 60.0


@contextmanager
def running(workspace: Workspace) -> Iterator[Contender]:
    """Run ``tidemill run --lane fast`` and ``--lane push``."""
    environment = {"TIDEMILL_WORKSPACE": str(workspace.root)}
    with (
        Process(module("jobs", "run", "--lane", "fast"), log=workspace.state / "fast.log", environment=environment) as fast,
        Process(module("jobs", "run", "--lane", "push"), log=workspace.state / "push.log", environment=environment) as push,
    ):
        _wait_for(workspace, push)
        yield Contender((fast, push), has_stores=True)


def _wait_for(workspace: Workspace, push: Process) -> None:
    """Wait until the push service lets clients in."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(OSError):
            if endpoint := Endpoint.last(workspace):
                url = urlsplit(endpoint.url)
                socket.create_connection((str(url.hostname), url.port or 0), timeout=1).close()
                return
        if not push.is_alive or time.monotonic() > deadline:
            raise BenchError(f"The push service did not start: {push.last_words()}.")
        time.sleep(0.1)
