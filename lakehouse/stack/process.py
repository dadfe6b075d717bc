"""Detached processes: start one, know it again later, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

# psutil derives the creation time from the boot time, which moves a little when the clock is adjusted.
CLOCK_SLACK = 2.0
"""Seconds by which a creation time may differ from what it was said to be."""

_GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


@dataclass(frozen=True)
class Identity:
    """What tells a process from a later one that got the same number.

    Attributes:
        pid: Process number.
        start_time: When the process was created, in seconds since the epoch.
    """

    pid: int
    start_time: float

    def live(self) -> psutil.Process | None:
        """Return the process when it still runs: a zombie, or another process with its number, is none."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) < CLOCK_SLACK
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except _GONE:
            return None


def spawn(argv: list[str], *, folder: Path, log: Path, env: dict[str, str]) -> Identity:
    """Start a process that outlives this one.

    Args:
        argv: Program and arguments; any user can read them, so no secrets.
        folder: Its working directory, by which :func:`leftovers` finds it.
        log: Where its output is appended.
        env: Variables added to the environment of this process.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    # Reaps it if it ends before this process does, so that no zombie looks alive.
    threading.Thread(target=process.wait, daemon=True).start()
    try:
        return Identity(process.pid, psutil.Process(process.pid).create_time())
    except psutil.NoSuchProcess:  # it ended at once; whoever waits for it to be ready reports why
        return Identity(process.pid, 0.0)


def leftovers(folder: Path, names: Iterable[str]) -> list[psutil.Process]:
    """Return processes that nobody recorded: those with one of ``names`` that work in ``folder``.

    There are some when the command that started them was killed, when a server's parent was and its children were not, or
    when the record was deleted.
    """
    wanted, places = set(names), {str(folder), f"{folder} (deleted)"}
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() in wanted and process.cwd() in places and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except _GONE:
            continue
    return found


def stop(processes: list[psutil.Process], *, how: signal.Signals, seconds: float) -> None:
    """Ask processes to stop, and kill those that are still there after ``seconds``."""
    for process in processes:
        _signal(process, how)
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return
