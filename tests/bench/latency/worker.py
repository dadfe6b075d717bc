"""A process of the benchmark's own, spoken with in lines of JSON. It is not sampled: that would take from what is measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ..errors import BenchError

_TESTS = Path(__file__).parents[2]


class Worker:
    """A Python module, or another program, in a process group of its own.

    Args:
        command: A module's name and its arguments; or a whole command line with ``program=True``.
        log: Where its standard error goes, and what it says beside JSON.
        environment: Variables beside those of this process.
        program: Whether ``command`` is a command line.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, program: bool = False
    ) -> None:
        self._name = command[0]
        self._log = log
        self._output = log.open("ab")
        paths = os.pathsep.join([str(_TESTS), *sys.path])
        self._process = subprocess.Popen(
            list(command) if program else [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env={**os.environ, **({} if program else {"PYTHONPATH": paths}), **(environment or {})},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to end, and its children; kill what does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """End it as a crash would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def tell(self, content: Mapping[str, Any]) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(content).encode() + b"\n")
        self._process.stdin.flush()

    def next(self, event: str) -> dict[str, Any]:
        """Wait for the next thing that it says.

        Raises:
            BenchError: It ended, or said something else.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                content: dict[str, Any] = json.loads(line)
                if content["event"] == event:
                    return content
            except (ValueError, KeyError, TypeError):
                self._output.write(line)
        raise BenchError(f"{self._name} ended before it was {event}: {self.last_words()} (see {self._log}).")

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        self._output.flush()
        lines = [text for text in self._log.read_text(errors="replace").splitlines() if text.strip()]
        return lines[-1] if lines else "without a word"


def say(event: str, **content: Any) -> None:
    """Tell the parent something."""
    print(json.dumps({"event": event, **content}), flush=True)


def hear() -> dict[str, Any]:
    """Wait for a line of the parent."""
    content: dict[str, Any] = json.loads(sys.stdin.readline())
    return content
