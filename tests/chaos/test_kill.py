"""kill -9 while records are in flight: afterwards each record is in exactly one place, as if nothing had happened.

Three kills are part of every check; `make chaos` does twenty.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse.lanes.lake import LakeLane
from lakehouse.stack import supervisor
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

RECORDS = 6_000
DRIVER = """
import os, signal, sys
import lakehouse.lanes.ingest as ingest

written, after = ingest.append_once, sys.argv[1]

def append_once(frame, path, transaction, batch_id):
    written(frame, path, transaction, batch_id)
    if path.rsplit("/", 2)[-2] == after:
        print("killed between two tables of one batch", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

ingest.append_once = append_once
sys.argv[1:] = ["run", "--once"]
from jobs.cli import main
main()
"""


def records(rng: random.Random) -> list[bytes]:
    """Good records, one in twenty twice, one in twenty broken."""
    made = []
    for number in range(RECORDS):
        fields = {"id": f"r{number:06}", "at": "2013-01-01T00:20:00Z", "kind": rng.choice("abc"), "value": 1.0, "count": number}
        made.append(json.dumps(fields).encode())
    made += rng.sample(made, RECORDS // 20)
    made += [b"broken %d" % number for number in range(RECORDS // 20)]
    rng.shuffle(made)
    return made


def assert_as_if_undisturbed(lake: Any) -> None:
    account = lake.account()
    assert (account.read, account.silver) == (RECORDS + RECORDS // 10, RECORDS)
    assert (account.dead_letters, account.duplicates, account.in_flight) == (RECORDS // 20, RECORDS // 20, 0)
    assert lake.verify() == []
    rows = lake.table("silver.readings").select("id", "count").collect()
    assert sorted((row["id"], row["count"]) for row in rows) == [(f"r{n:06}", n) for n in range(RECORDS)]
    counted = lake.table("gold.readings_by_hour").selectExpr("sum(n)", "sum(total)").first()
    assert tuple(counted) == (RECORDS, sum(range(RECORDS)))


def kill_server(lake: Any, stack: tuple[Workspace, Any], part: str, rng: random.Random) -> None:
    """Kill a server once some batches are in and others are not, and start it again."""
    workspace, _ = stack
    lake.publish(records(rng))
    context = lake.context()
    lane = LakeLane(context)
    running = threading.Thread(target=lane.run_once)
    running.start()
    try:
        deadline = time.monotonic() + 120
        while not lake.control.batches("bronze.readings"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(rng.random())
        silver = sum(row["rows_read"] for row in lake.control.batches("silver.readings", 100))
        assert silver < RECORDS + RECORDS // 10, "nothing was in flight"
        (server,) = [server for server in supervisor.status(workspace) if server.part == part]
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(1 + 2 * rng.random())
        supervisor.up(workspace)
        running.join(300)
        assert not running.is_alive(), lake.control.states()
    finally:
        lane.stop()
        running.join()
        context.lease.release()
    assert lane.stopped_tables == {}
    assert_as_if_undisturbed(lake)


def kill_driver(lake: Any, stack: tuple[Workspace, Any], after: str, rng: random.Random) -> None:
    """Kill the driver behind the write of one table of a batch, before the next one."""
    shared, _ = stack
    lake.publish(records(rng))
    root: Path = lake.workspace.root
    root.joinpath("tidemill.toml").write_text(
        f'[workspace]\nname = "t"\n[s3]\nbucket = "{lake.settings.s3.bucket}"\n[lake]\nmax_records_per_batch = 2000\n'
        'driver_memory = "2g"\n'
    )
    root.joinpath(".tidemill").mkdir(exist_ok=True)
    root.joinpath(".tidemill/stack.json").write_bytes(shared.state.joinpath("stack.json").read_bytes())
    script = root / "driver.py"  # a file: pyspark takes a program without one for its own doctests
    script.write_text(DRIVER)
    command = [sys.executable, str(script), after]
    killed = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "killed between two tables" in killed.stdout
    assert lake.run_once() == {}
    assert_as_if_undisturbed(lake)


KILLS: dict[str, Callable[[Any, Any, random.Random], None]] = {
    "driver": lambda lake, stack, rng: kill_driver(lake, stack, rng.choice(["dead_letters", "duplicates", "silver"]), rng),
    "kafka": lambda lake, stack, rng: kill_server(lake, stack, "kafka", rng),
    "s3": lambda lake, stack, rng: kill_server(lake, stack, "s3", rng),
}


@pytest.mark.parametrize("what", KILLS)
def test_a_kill_leaves_each_record_in_one_place(
    what: str, new_lake: Callable[..., Any], declare_feed: Callable[..., None], stack: tuple[Workspace, Any]
) -> None:
    lake = new_lake(max_records_per_batch=1500)
    declare_feed(lake)
    KILLS[what](lake, stack, random.Random(1))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20))
def test_twenty_kills(
    seed: int, new_lake: Callable[..., Any], declare_feed: Callable[..., None], stack: tuple[Workspace, Any]
) -> None:
    lake = new_lake(max_records_per_batch=1500)
    declare_feed(lake)
    KILLS[list(KILLS)[seed % len(KILLS)]](lake, stack, random.Random(100 + seed))
