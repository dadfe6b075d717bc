"""Processes of a benchmark: what they say in JSON lines, and what they and their children use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from lakehouse.errors import SettingsError

from .errors import BenchError

_EVERY = 0.1  # seconds between two samples
_PATIENCE = 20.0  # seconds until one that was asked to end is killed
_START_PATIENCE = 60.0
_TESTS = Path(__file__).parents[1]

T = TypeVar("T")


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


def module(name: str, *arguments: str) -> list[str]:
    """Return the command line that runs a Python module."""
    return [sys.executable, "-m", name, *arguments]


class Process:
    """A program in a process group of its own, spoken with in lines of JSON.

    Args:
        command: Its command line; no secrets.
        log: Where its standard error goes, and what it says beside JSON.
        environment: Variables beside those of this process.
    """

    def __init__(self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        self._output = log.open("a")
        paths = os.pathsep.join([str(_TESTS), *filter(None, sys.path)])
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to end, if it still runs; kill it and its children if it does not."""
        if self.is_alive:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """End it, and its children, as a crash would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def tell(self, content: object = None) -> None:
        """Send it a line of JSON that it waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(content) + "\n")
        self._process.stdin.flush()

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
        raise BenchError(f"{self._log.stem} ended before it was {event}: {self.last_words()} (see {self._log}).")

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        self._output.flush()
        lines = [text for text in self._log.read_text(errors="replace").splitlines() if text.strip()]
        return lines[-1] if lines else "without a word"

    def finish(self) -> None:
        """Wait until it ended well."""
        assert self._process.stdout is not None
        self._output.write(self._process.stdout.read())
        if code := self._process.wait():
            raise BenchError(f"{self._log.stem} failed at its end, with exit code {code} (see {self._log}).")


class Measured(Process):
    """A process that is sampled while it runs."""

    def __init__(self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(command, log=log, environment=environment)
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


def until(ready: Callable[[], T], service: Process) -> T:
    """Wait until a service answers.

    Args:
        ready: Raises while it does not.
        service: The process.

    Raises:
        BenchError: It ended, or took too long.
    """
    deadline = time.monotonic() + _START_PATIENCE
    while True:
        try:
            return ready()
        except (OSError, SettingsError) as error:
            if time.monotonic() > deadline or not service.is_alive:
                raise BenchError(f"A service did not answer in time: {service.last_words()}") from error
        time.sleep(0.2)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its children, in seconds."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
