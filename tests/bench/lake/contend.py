"""One contender in a process of its own: ``python -m bench.lake.contend NAME WORKSPACE EVENTS SMALL``.

It speaks with :mod:`~bench.lake.run` in JSON lines on standard output. The clock runs from ``ready`` (the session is there, or
the consumer connected) to ``done`` (the last table is committed); then it waits for a line on standard input, because the files,
requests and memory are looked at before anything else is done.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

from lakehouse.workspace import Workspace

from ..lines import hear, say


def main(name: str, root: str, events: str, small: str) -> None:
    """Run one contender."""
    contender: Any = importlib.import_module(f"bench.lake.contenders.{name}")
    with contender.ready(Workspace.load(Path(root))) as job:
        say("ready")
        begun = time.monotonic()
        stages = job.work()
        say("done", seconds=time.monotonic() - begun, stages=stages)
        hear()
        if int(small):
            say("small_commits", milliseconds=job.small_commits(int(events), int(small)))


if __name__ == "__main__":
    main(*sys.argv[1:])
