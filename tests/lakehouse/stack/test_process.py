from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lakehouse.stack.process import Identity, leftovers, spawn, stop

NAME = Path(sys.executable).name
SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)",
]


def started(argv: list[str], folder: Path) -> Identity:
    log = folder / "log"
    identity = spawn(argv, folder=folder, log=log, env={})
    deadline = time.monotonic() + 10
    while "here" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    return identity


def test_a_process_is_known_again_and_is_not_a_child_of_the_session(tmp_path: Path) -> None:
    identity = started(SLEEPER, tmp_path)
    process = identity.live()
    assert process is not None
    assert os.getsid(identity.pid) == identity.pid != os.getsid(0)
    stop([process], how=signal.SIGTERM, seconds=10)
    assert identity.live() is None


def test_a_killed_child_is_not_taken_for_alive_although_nobody_waited_for_it(tmp_path: Path) -> None:
    identity = started(SLEEPER, tmp_path)
    os.kill(identity.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while identity.live() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert identity.live() is None


def test_another_process_with_the_same_number_is_not_taken_for_ours() -> None:
    mine = psutil.Process()
    identity = Identity(mine.pid, mine.create_time())
    assert identity.live() is not None
    assert replace(identity, start_time=identity.start_time - 60).live() is None


def test_a_process_that_ignores_the_signal_is_killed_in_time(tmp_path: Path) -> None:
    identity = started(STUBBORN, tmp_path)
    process = identity.live()
    assert process is not None
    begun = time.monotonic()
    stop([process], how=signal.SIGTERM, seconds=0.3)
    assert identity.live() is None
    assert time.monotonic() - begun < 5


def test_leftovers_are_found_by_folder_and_name(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    mine, other = started(SLEEPER, here), started(SLEEPER, there)
    try:
        assert [process.pid for process in leftovers(here, [NAME])] == [mine.pid]
        assert leftovers(here, ["less"]) == []
    finally:
        stop([psutil.Process(mine.pid), psutil.Process(other.pid)], how=signal.SIGTERM, seconds=10)
    assert leftovers(here, [NAME]) == []


def test_the_log_is_private_and_appended_to(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("earlier\n")
    (tmp_path / "log").chmod(0o600)
    identity = started(SLEEPER, tmp_path)
    process = identity.live()
    assert process is not None
    stop([process], how=signal.SIGTERM, seconds=10)
    assert (tmp_path / "log").read_text().splitlines() == ["earlier", "here"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_program_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        spawn(["no-such-program"], folder=tmp_path, log=tmp_path / "log", env={})
