"""Processes of a benchmark: what they say in JSON lines, and what they and their children use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from .errors import BenchError

_EVERY = 0.1  # seconds between two samples


@dataclass
class Usage:
    """What a process and its children used.

    Attributes:
        peak_mib: Largest sum of their resident memory at one moment, in MiB.
        peak_by_program: The parts of that sum, by the program's name.
        cpu_seconds: Processor time, user and system, of each process, by its id and start.
    """

    peak_mib: float = 0.0
    peak_by_program: dict[str, float] = field(default_factory=dict)
    cpu: dict[tuple[int, float], float] = field(default_factory=dict)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all of them together."""
        return sum(self.cpu.values())

    def sample(self, root: psutil.Process) -> None:
        """Look once."""
        programs: dict[str, float] = {}
        try:
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                with process.oneshot():
                    times, memory, name = process.cpu_times(), process.memory_info().rss / 2**20, process.name()
                    self.cpu[process.pid, process.create_time()] = times.user + times.system
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            programs[name] = programs.get(name, 0.0) + memory
        if (total := sum(programs.values())) > self.peak_mib:
            self.peak_mib, self.peak_by_program = total, programs


class Process:
    """A Python module run in a process group of its own, which says things in JSON lines.

    Args:
        module: What ``python -m`` runs.
        arguments: Its arguments; no secrets.
        environment: Variables beside those of this process.
        path: Folder that its imports begin at.
        log: Where its other output goes.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], path: Path, log: Path) -> None:
        self._log = log
        self._output = log.open("w")
        paths = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
            env={**os.environ, **environment, "PYTHONPATH": paths},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and its children if they still run."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def next(self, event: str) -> dict[str, Any]:
        """Wait for the next thing that it says.

        Raises:
            BenchError: It said something else, or ended.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                content: dict[str, Any] = json.loads(line)
                if content["event"] == event:
                    return content
            except (ValueError, KeyError, TypeError):
                self._output.write(line)  # some library talks
        self._output.flush()
        last = [text for text in self._log.read_text(errors="replace").splitlines() if text.strip()][-1:]
        raise BenchError(f"A contender ended before it was {event}: {last[0] if last else 'without a word'} (see {self._log}).")

    def proceed(self, line: str = "") -> None:
        """Let it go on, with a line that it waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until it ended well."""
        assert self._process.stdout is not None
        self._output.write(self._process.stdout.read())
        if code := self._process.wait():
            raise BenchError(f"A contender failed at its end, with exit code {code} (see {self._log}).")


class Measured(Process):
    """A process that is sampled while it runs."""

    def __init__(self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], path: Path, log: Path) -> None:
        super().__init__(module, arguments, environment=environment, path=path, log=log)
        self.usage = Usage()
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._watch, name="sampler", daemon=True)
        self._sampler.start()

    def __exit__(self, *problem: object) -> None:
        """End the process and its children if they still run."""
        self._ended.set()
        self._sampler.join()
        super().__exit__(*problem)

    def stop_sampling(self) -> Usage:
        """Look a last time; what comes later does not count."""
        self._ended.set()
        self._sampler.join()
        self.usage.sample(psutil.Process(self.pid))
        return self.usage

    def _watch(self) -> None:
        try:
            root = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return
        while not self._ended.wait(_EVERY):
            self.usage.sample(root)
