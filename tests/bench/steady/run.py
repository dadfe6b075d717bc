"""``tidemill bench steady``: the lake lane under a small steady load. Do files pile up, do commits get slower?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pyarrow as pa
from deltalake import DeltaTable

from lakehouse.catalog import Kafka
from lakehouse.clients import delta_rs
from lakehouse.control import Control
from lakehouse.errors import UnknownNameError
from lakehouse.settings import Settings
from lakehouse.sources.replay import publish
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

from .. import machine
from ..errors import BenchError
from ..lake.check import check
from ..lake.generate import events, expected
from ..store import servers

EVENTS = 360_000  # an hour
QUICK_EVENTS = 6_000
PER_SECOND = 100
WINDOWS = 12
TABLES = ("bronze.events", "silver.events", "gold.events_by_minute")

_TEMPLATE = Path(__file__).parents[1] / "lake" / "workspace"
# Files that no version uses are kept for a day by default; ten minutes show within the hour that they are deleted.
_ENVIRONMENT = {"TIDEMILL_LAKE__VACUUM_RETENTION": "10 minutes"}
_PATIENCE = 600.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Window:
    """What was seen at the end of a part of the time, or during it.

    Attributes:
        minutes: Since the first table was there.
        published: Events so far.
        commits: Batches of each table in this part.
        commit_ms: Median milliseconds of those batches: bronze's whole trigger; for silver and gold the lane's work.
        live_files: Data files of each table's last version.
        live_mib: Their size.
        stored_files: All objects below each table: data that older versions use, and the log.
        checkpoint_files: Objects of all the queries' checkpoints.
        memory_mib: Resident memory of the lane: Python and the JVM.
    """

    minutes: float
    published: int
    commits: dict[str, int]
    commit_ms: dict[str, float]
    live_files: dict[str, int]
    live_mib: dict[str, float]
    stored_files: dict[str, int]
    checkpoint_files: int
    memory_mib: float


def run(
    *,
    count: int | None = None,
    only: Sequence[str] = (),
    rounds: int = 1,
    memory: bool = False,
    quick: bool = False,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Run the benchmark.

    Args:
        count: How many events, a hundred a second; an hour of them when left out.
        only: Not used here: there is one contender.
        rounds: Not used here.
        memory: Not used here: memory is always shown.
        quick: Take a minute of events where ``count`` says nothing.
        say: Told what is being done.

    Returns:
        ``name``, ``machine``, ``figures``, ``ratios``, and ``windows`` with everything that was measured.

    Raises:
        BenchError: The lane ended, or its tables are wrong.
        UnknownNameError: Contenders were named.
    """
    if only:
        raise UnknownNameError("This benchmark has no contenders to choose from.")
    count = count or (QUICK_EVENTS if quick else EVENTS)
    with servers(_TEMPLATE, say) as workspace, _lane(workspace) as lane:
        windows = list(_watch(workspace, lane, count, say))
    first, last = windows[0], windows[-1]
    figures: dict[str, float] = {"minutes": round(last.minutes, 1), "memory_mib_last": round(last.memory_mib, 1)}
    ratios: dict[str, float] = {"memory_last_to_first": round(last.memory_mib / first.memory_mib, 3)}
    for table in TABLES:
        layer = table.partition(".")[0]
        figures[f"{layer}_commits"] = float(sum(window.commits[table] for window in windows))
        figures[f"{layer}_commit_p50_ms_first"] = first.commit_ms[table]
        figures[f"{layer}_commit_p50_ms_last"] = last.commit_ms[table]
        figures[f"{layer}_most_live_files"] = float(max(window.live_files[table] for window in windows))
        ratios[f"{layer}_commit_last_to_first"] = round(last.commit_ms[table] / max(first.commit_ms[table], 0.1), 3)
    return {
        "name": "steady",
        "machine": machine.describe(),
        "figures": figures,
        "ratios": ratios,
        "windows": [asdict(window) for window in windows],
    }


@contextmanager
def _lane(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``tidemill run`` as a process of its own; it ends as an operator would end it."""
    environment = {**os.environ, **_ENVIRONMENT, "TIDEMILL_WORKSPACE": str(workspace.root)}
    with (workspace.root / "lane.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "jobs", "run"], env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _watch(workspace: Workspace, lane: subprocess.Popen[bytes], count: int, say: Say) -> Iterator[Window]:
    """Publish at a steady rate, and look at the end of each window; the last one ends when all is in gold."""
    settings = Settings.load(workspace)
    control, objects = Control(settings.require("postgres")), Objects(settings)
    try:
        _publish(settings, 0, 1)
        _wait(lambda: bool(control.batches(TABLES[-1])), lane)
        begun, since, published = time.monotonic(), control.now(), 1
        for number in range(1, WINDOWS + 1):
            until = count * number // WINDOWS
            while published < until:
                due = min(until, 1 + int((time.monotonic() - begun) * PER_SECOND))
                if due > published:
                    _publish(settings, published, due)
                    published = due
                    say(f"a steady load: {published:,} of {count:,} events")
                _alive(lane)
                time.sleep(0.2)
            if number == WINDOWS:
                say("waiting until all is in gold")
                _check(settings, count, lane)
            yield _look(settings, control, objects, lane, since, (time.monotonic() - begun) / 60, published)
            since = control.now()
    finally:
        control.close()


def _publish(settings: Settings, start: int, stop: int) -> None:
    publish(settings, Kafka("events"), events(start, stop))


def _check(settings: Settings, count: int, lane: subprocess.Popen[bytes]) -> None:
    """Wait until the tables are what the generator says; when they do not become so in time, say what differs."""
    deadline, right = time.monotonic() + _PATIENCE, expected(count)
    while True:
        try:
            return check("tidemill", settings, right)
        except BenchError:
            if time.monotonic() > deadline:
                raise
        _alive(lane)
        time.sleep(1)


def _wait(true: Callable[[], bool], lane: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        _alive(lane)
        if time.monotonic() > deadline:
            raise BenchError("The lane did not come to the end of its input in time.")
        time.sleep(0.2)


def _alive(lane: subprocess.Popen[bytes]) -> None:
    if lane.poll() is not None:
        raise BenchError(f"The lane ended with exit code {lane.returncode}.")


def _look(
    settings: Settings,
    control: Control,
    objects: Objects,
    lane: subprocess.Popen[bytes],
    since: Any,
    minutes: float,
    published: int,
) -> Window:
    batches = {t: [row["duration_ms"] for row in control.batches(t, 100_000) if row["finished_at"] > since] for t in TABLES}
    sizes = {table: _live(settings, table) for table in TABLES}
    family = [psutil.Process(lane.pid), *psutil.Process(lane.pid).children(recursive=True)]
    return Window(
        minutes=round(minutes, 2),
        published=published,
        commits={table: len(found) for table, found in batches.items()},
        commit_ms={table: round(float(median(found)), 1) if found else 0.0 for table, found in batches.items()},
        live_files={table: len(found) for table, found in sizes.items()},
        live_mib={table: round(sum(found) / 2**20, 2) for table, found in sizes.items()},
        stored_files={table: _count(objects, table.replace(".", "/")) for table in TABLES},
        checkpoint_files=_count(objects, "_checkpoints"),
        memory_mib=round(sum(process.memory_info().rss for process in family) / 2**20, 1),
    )


def _live(settings: Settings, table: str) -> list[int]:
    uri = f"s3://{settings.s3.bucket}/{table.replace('.', '/')}"
    actions = pa.table(DeltaTable(uri, storage_options=delta_rs(settings)).get_add_actions(flatten=True))
    return [int(size) for size in actions["size_bytes"].to_pylist()]


def _count(objects: Objects, prefix: str) -> int:
    return len(objects.fs.find(f"{objects.bucket}/{prefix}"))
