"""Lanes that run beside a command end with it, also when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.workspace import Workspace

SCRIPT = """
import time
from jobs.beside import Beside
from lakehouse.workspace import Workspace

with Beside(Workspace.find()) as beside:
    beside.start("push")
    print("started", flush=True)
    while not beside.ended:
        time.sleep(0.1)
    print(beside.ended, flush=True)
"""


@pytest.mark.integration
def test_a_lane_ends_when_the_process_that_started_it_is_killed(gulls: Workspace) -> None:
    environment = os.environ | {"TIDEMILL_WORKSPACE": str(gulls.root), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        (lane,) = psutil.Process(parent.pid).children()
        deadline = time.monotonic() + 60
        log = gulls.state / "logs" / "push.log"
        while "Live rows are pushed at" not in log.read_text():
            assert lane.is_running(), log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert Endpoint.of(gulls).url in log.read_text()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        lane.wait(30)
