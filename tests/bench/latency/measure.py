"""One contender through its points: warm it up, send a load, and look when its rows arrive, and where."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil
import psycopg
import valkey

from lakehouse.catalog import Kafka
from lakehouse.settings import Settings
from lakehouse.sources.kafka import delete_topic, ensure_topic, topic_id
from lakehouse.workspace import Workspace

from ..errors import BenchError
from ..process import Process, module
from . import hot
from .contenders._contender import LIVE, SOURCE, Contender
from .figures import Ages, ages
from .schedule import Schedule

PARTITIONS = 2
FLINK = "flink.live"

_COLD_SECONDS = 150.0  # until a cold driver's first row
_PATIENCE = 10.0  # for what a point has left behind
_LEAD_US = 2_000_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One contender under one load.

    Attributes:
        contender: Which one.
        rate: Events a second.
        seconds: How long.
        sent: Events that the broker has.
        late_p99_ms: How much later than meant the generator sent them; in all ages, those of the floor too.
        late_most_ms: The most of it.
        busy: How busy the machine was, in percent of all cores.
        coalesced: Rows that the push service left out for later ones of the same key; they count as missing.
        seen: Who looked (``floor``, ``kafka``, ``socket``, ``hot``) → what they saw.
    """

    contender: str
    rate: int
    seconds: float
    sent: int
    late_p99_ms: float
    late_most_ms: float
    busy: float
    coalesced: int
    seen: dict[str, Ages]


def points(
    workspace: Workspace, name: str, rates: Sequence[int], seconds: float, warm_seconds: float, say: Say
) -> Iterator[Point]:
    """Run a contender from a cold start through its points."""
    kind: Any = importlib.import_module(f"bench.latency.contenders.{name}")
    begin_anew(workspace)
    say(f"{name}: starting")
    with kind.running(workspace) as contender:
        warm_up(workspace, name, contender, min(max(rates), 10_000), warm_seconds, say)
        has_caught_up = True
        for rate in rates:
            if not has_caught_up:
                settle(workspace, name, contender)
            say(f"{name}, {rate:,} events/s: {seconds:.0f} seconds")
            point = measure(workspace, name, contender, rate, seconds)
            yield point
            has_caught_up = all(seen.sustained for seen in point.seen.values())


def warm_up(workspace: Workspace, name: str, contender: Contender, rate: int, seconds: float, say: Say) -> None:
    """Wait for the first row, then send a load that nobody measures, and wait for its last row.

    Raises:
        BenchError: No row came.
    """
    say(f"{name}: waiting for its first row")
    settle(workspace, name, contender)
    say(f"{name}: warming up")
    measure(workspace, name, contender, rate, seconds)
    settle(workspace, name, contender)


def settle(workspace: Workspace, name: str, contender: Contender) -> None:
    """Send a few rows and wait until they have come: then all that was sent before has come, too.

    Raises:
        BenchError: They do not come.
    """
    point = measure(workspace, name, contender, 100, 1.0, patience=_COLD_SECONDS)
    for where, seen in point.seen.items():
        if seen.missing and where != "socket":  # who connects before the first row is not told of it
            raise BenchError(f"{name}: {seen.missing} of {seen.rows} rows did not come ({where}).")


def measure(
    workspace: Workspace,
    name: str,
    contender: Contender,
    rate: int,
    seconds: float,
    patience: float = _PATIENCE,
    meanwhile: Callable[[], None] | None = None,
) -> Point:
    """Send one load, and look.

    Args:
        workspace: Where the servers are.
        name: The contender's name.
        contender: The contender.
        rate: Events a second.
        seconds: How long.
        patience: How long to wait for the last row, seconds.
        meanwhile: Done while the load is being sent; it may make rows come twice, so the lookers stay to the end.

    Raises:
        BenchError: A process ended.
    """
    settings = Settings.load(workspace)
    servers, folder = settings.require("kafka"), workspace.state
    where = {"floor": ["topic", servers, SOURCE], "kafka": ["topic", servers, contender.topic]}
    if contender.has_stores:
        where["socket"] = ["socket", str(workspace.root), SOURCE]
    with ExitStack() as stack:
        lookers = {
            kind: stack.enter_context(Process(module("bench.latency.watch", *words), log=folder / f"{kind}.log"))
            for kind, words in where.items()
        }
        load = stack.enter_context(
            Process(module("bench.latency.load", servers, SOURCE, str(PARTITIONS)), log=folder / "load.log")
        )
        for worker in (*lookers.values(), load):
            worker.next("ready")
        schedule = Schedule(time.time_ns() // 1_000 + _LEAD_US, rate, seconds)
        good, every = schedule.good_us(), schedule.sent_us()
        psutil.cpu_percent(None)
        load.tell(asdict(schedule))
        for kind, looker in lookers.items():
            expected = len(every if kind == "floor" else good) if meanwhile is None else sys.maxsize
            task = {"expected": expected, "patience": patience, "file": str(folder / f"{kind}.npy")}
            looker.tell({**task, "schedule": asdict(schedule)})
        if meanwhile is not None:
            meanwhile()
        done = load.next("done")
        busy = psutil.cpu_percent(None)
        ends = {kind: looker.next("done") for kind, looker in lookers.items()}
    for worker in contender.workers:
        if not worker.is_alive:
            raise BenchError(f"{name} ended: {worker.last_words()}.")
    seen: dict[str, Ages] = {}
    for kind, end in ends.items():
        found = np.load(folder / f"{kind}.npy")
        seen[kind] = ages(every if kind == "floor" else good, found, end["stopped_us"])
    if contender.has_stores:
        deadline = schedule.stop_us / 1e6 + patience
        found = hot.seen(settings.require("postgres"), SOURCE, schedule.start_us, len(good), deadline)
        seen["hot"] = ages(good, found, time.time_ns() // 1_000)
    return Point(
        contender=name,
        rate=rate,
        seconds=seconds,
        sent=done["sent"],
        late_p99_ms=done["late_p99_ms"],
        late_most_ms=done["late_most_ms"],
        busy=busy,
        coalesced=sum(end["coalesced"] for end in ends.values()),
        seen=seen,
    )


def begin_anew(workspace: Workspace) -> None:
    """Drop what an earlier contender left: topics, the control database, the hot store."""
    settings = Settings.load(workspace)
    for topic in (SOURCE, LIVE, f"{SOURCE}.dlq", FLINK, "flink.dlq"):
        delete_topic(settings, topic)
        while topic_id(settings, topic) is not None:
            time.sleep(0.2)
    for topic in (SOURCE, LIVE, FLINK, "flink.dlq"):
        ensure_topic(settings, Kafka(topic, partitions=PARTITIONS))
    with psycopg.connect(settings.require("postgres"), autocommit=True) as connection:
        for schema in ("hot", "tidemill"):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    with valkey.Valkey.from_url(settings.require("valkey")) as client:
        client.flushall()
