"""Run other lanes beside a command, each in a process of its own that ends with it, whichever way it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from lakehouse.workspace import Workspace

_PATIENCE_SECONDS = 30.0


class Beside:
    """``tidemill run --lane …`` in processes of their own; a context manager that ends them.

    Args:
        workspace: What they run.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, lane: str) -> Path:
        """Start a lane; returns the file that it writes what it says to."""
        log = self._workspace.state / "logs" / f"{lane}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"TIDEMILL_WORKSPACE": str(self._workspace.root)}
        with log.open("wb") as out:
            self._processes[lane] = subprocess.Popen(
                [sys.executable, "-m", "jobs.beside", lane], stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment
            )
        return log

    @property
    def ended(self) -> dict[str, int]:
        """Lane → exit code, of those that ended."""
        codes = {lane: process.poll() for lane, process in self._processes.items()}
        return {lane: code for lane, code in codes.items() if code is not None}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_with_parent() -> None:
    """Wait until nobody holds the other end of standard input any more, then end this process as Ctrl-C would."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the lane that is named, until it is asked to stop or the process that started it has ended."""
    from jobs.cli import main as tidemill

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    sys.argv = ["tidemill", "run", "--lane", sys.argv[1]]
    tidemill()


if __name__ == "__main__":
    main()
