"""The fast lane and its hot sink, on real servers, in processes of their own that get killed while rows are in flight."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import valkey
from confluent_kafka import Producer
from live_lanes import running, workspace_of

from lakehouse.catalog import Catalog, Kafka
from lakehouse.livetables import LiveSpec, live_tables
from lakehouse.settings import Settings
from lakehouse.sources.kafka import end_offsets, ensure_topic
from lakehouse.sources.replay import Event, publish
from lakehouse.stack import supervisor
from lakehouse.storage.hot import declare
from lakehouse.storage.latest import Latest
from lakehouse.telemetry.latency import latencies
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

FEED = "sightings"
CLOCK_MS = 1_357_000_000_000
SOON = 300.0  # seconds; a cold driver beside other work
FILES = {
    "tidemill.toml": '[workspace]\nname = "birds"\n[s3]\nbucket = "birds"\n',
    "bronze/sightings.py": """
from lakehouse.catalog import Kafka, bronze

sightings = bronze("sightings", source=Kafka("sightings", partitions=2))
""",
    "silver/sightings.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Bronze, Json, silver

@silver("sightings", keys=["id"], parse=Json("id STRING, bird STRING, at TIMESTAMP, n INT"), event_time="at",
        watermark="1 day", future="1 hour", suite="silver/sightings")
def sightings(records: Annotated[DataFrame, Bronze("sightings")]) -> DataFrame:
    return records.select("_record", "id", "bird", "at", "n")
""",
    "reference/birds.py": """
import pandas as pd
from lakehouse.catalog import reference

@reference("birds", keys=["bird"])
def birds() -> pd.DataFrame:
    return pd.DataFrame({"bird": ["gull", "tern"], "name": ["Herring gull", "Arctic tern"]})
""",
    "live/sightings.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Reference, Silver
from lakehouse.livetables import live

@live("sightings", keys=["bird"], sequence_by="at", retention="1 day", window="1 hour")
def sightings(
    seen: Annotated[DataFrame, Silver("sightings")], birds: Annotated[DataFrame, Reference("birds")]
) -> DataFrame:
    return seen.join(birds, "bird", "left").select("_record", "id", "bird", "name", "at", "n")
""",
    "expectations/silver/sightings.py": """
from great_expectations import expectations as gxe
from lakehouse.quality import Suite, drop

suite = Suite([drop(gxe.ExpectColumnValuesToBeBetween(column="n", min_value=0))])
""",
}
COLUMNS = {"id": "text", "bird": "text", "name": "text", "at": "timestamptz", "n": "integer"}


@pytest.fixture
def workspace(stack: tuple[Workspace, Settings], tmp_path: Path) -> Iterator[Workspace]:
    with workspace_of(stack, tmp_path, FILES, [FEED, f"{FEED}.live", f"{FEED}.dlq"]) as workspace:
        yield workspace


@pytest.fixture
def settings(workspace: Workspace) -> Settings:
    return Settings.load(workspace)


@pytest.fixture
def spec(workspace: Workspace) -> LiveSpec:
    return live_tables(workspace, Catalog.load(workspace))[FEED]


def wait_for(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"not within {SOON:.0f} s: {what}"
        assert process is None or process.poll() is None, f"the process ended before {what}"
        time.sleep(0.1)


def hot_ids(settings: Settings) -> list[str]:
    try:
        with psycopg.connect(settings.require("postgres"), connect_timeout=2) as connection:
            return [row[0] for row in connection.execute(f"SELECT id FROM hot.{FEED}")]
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.OperationalError):
        return []


def sighting(number: int) -> bytes:
    at = datetime.fromtimestamp(CLOCK_MS / 1000, UTC) + timedelta(milliseconds=number)
    fields = {"id": f"s{number:05}", "bird": ("gull", "tern", "auk")[number % 3], "at": at.isoformat(), "n": number}
    return json.dumps(fields).encode()


def record(number: int) -> bytes:
    """One in fifty breaks a rule, and one in fifty cannot be read."""
    return (
        b"{broken"
        if number % 50 == 7
        else sighting(number).replace(b'"n": ', b'"n": -')
        if number % 50 == 9
        else sighting(number)
    )


@pytest.mark.timeout(1200)
def test_a_killed_driver_loses_nothing_and_counts_nothing_twice(workspace: Workspace, settings: Settings, spec: LiveSpec) -> None:
    total = 3_000
    good = [f"s{number:05}" for number in range(total) if number % 50 not in (7, 9)]
    acknowledged: list[int] = []
    source = Kafka(FEED, partitions=2)

    def produce() -> None:
        for start in range(0, total, 50):
            events = [Event(CLOCK_MS + n, str(n).encode(), record(n)) for n in range(start, start + 50)]
            acknowledged.append(publish(settings, source, events).acked)
            time.sleep(0.1)

    ensure_topic(settings, source)
    with running(workspace, "fast") as first:
        publish(settings, source, [Event(CLOCK_MS, b"warm", sighting(0))])  # the driver compiles its query at the first record
        wait_for(lambda: bool(hot_ids(settings)), "the first row is hot", first)
        producing = threading.Thread(target=produce)
        producing.start()
        wait_for(lambda: len(hot_ids(settings)) > total // 10, "some rows are hot", first)
        os.killpg(first.pid, signal.SIGKILL)
        landed = len(hot_ids(settings))
        assert producing.is_alive(), "nothing was in flight"
    producing.join()
    assert sum(acknowledged) == total
    assert landed < len(good)
    with running(workspace, "fast") as second:
        wait_for(lambda: len(hot_ids(settings)) > len(good), "all rows are hot", second)  # number 0 was sent twice
        second.send_signal(signal.SIGTERM)
        second.wait(60)
    assert sorted(hot_ids(settings)) == sorted([*good, "s00000"])
    with valkey.Valkey.from_url(settings.require("valkey")) as client:
        states = [Latest(client, spec).get([bird]) for bird in ("gull", "tern", "auk")]
        hops = latencies(client, FEED)
    assert [state and (state["id"], state.get("name")) for state in states] == [
        ("s02997", "Herring gull"),
        ("s02998", "Arctic tern"),
        ("s02999", None),
    ]
    # The records' timestamps are of 2013; the producer's header says when they were sent.
    assert set(hops) == {"producer_to_gate", "gate_to_hot", "producer_to_hot"}
    assert hops["producer_to_hot"].rows == hops["gate_to_hot"].rows > 0
    assert 0 < hops["producer_to_gate"].p50_ms < hops["producer_to_hot"].max_ms
    assert sum(end_offsets(settings, spec.dead_letter_topic).values()) >= total - len(good)


class LiveTopic:
    """Writes rows as the fast lane does, at least once."""

    def __init__(self, settings: Settings, spec: LiveSpec) -> None:
        ensure_topic(settings, Kafka(spec.live_topic, partitions=2))
        declare(settings.require("postgres"), spec.name, COLUMNS)
        self._producer = Producer({"bootstrap.servers": settings.require("kafka"), "linger.ms": 5})
        self._topic = spec.live_topic

    def write(self, numbers: range) -> None:
        for number in numbers:
            row: dict[str, Any] = json.loads(sighting(number))
            at = datetime.fromtimestamp(CLOCK_MS / 1000, UTC) + timedelta(milliseconds=number)
            row |= {"_topic_id": "t", "_partition": number % 2, "_offset": number // 2, "_timestamp": at.isoformat()}
            self._producer.produce(self._topic, json.dumps(row).encode(), partition=number % 2)
        assert self._producer.flush(30) == 0


@pytest.mark.parametrize("victim", ["sink", "postgres", "valkey"])
@pytest.mark.timeout(900)
def test_the_sink_survives_a_kill(
    victim: str, workspace: Workspace, settings: Settings, spec: LiveSpec, stack: tuple[Workspace, Settings]
) -> None:
    topic = LiveTopic(settings, spec)
    total = 40_000
    expected = [f"s{number:05}" for number in range(total)]
    with running(workspace, "hot") as process:
        topic.write(range(100))
        wait_for(lambda: len(hot_ids(settings)) == 100, "the first rows are hot", process)
        producing = threading.Thread(target=topic.write, args=[range(100, total)])
        producing.start()
        wait_for(lambda: len(hot_ids(settings)) > 100, "more rows are hot", process)
        if victim == "sink":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            (server,) = [server for server in supervisor.status(stack[0]) if server.part == victim]
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            if victim == "valkey":  # and it comes back without its memory
                shutil.rmtree(next((stack[0].state / "data" / "valkey").rglob("appendonlydir")))
            time.sleep(1)
            supervisor.up(stack[0])
        producing.join()
        topic.write(range(total - 500, total))  # as after a crash of the driver
        if victim == "sink":
            with running(workspace, "hot") as other:
                wait_for(lambda: len(hot_ids(settings)) >= total, "all rows are hot", other)
        else:
            wait_for(lambda: len(hot_ids(settings)) >= total, "all rows are hot", process)
            with valkey.Valkey.from_url(settings.require("valkey")) as client:
                latest = Latest(client, spec)
                wait_for(lambda: (latest.get(["gull"]) or {}).get("id") == "s39999", "the latest state is there", process)
                assert latest.is_whole
    assert sorted(hot_ids(settings)) == expected


def test_what_is_no_row_of_a_lane_is_left_out(workspace: Workspace, settings: Settings, spec: LiveSpec) -> None:
    topic = LiveTopic(settings, spec)
    whole = {"_topic_id": "t", "_partition": 0, "_offset": 1, "_timestamp": "2013-01-01T00:00:00Z"}
    changes = (
        {"_timestamp": "2013-01-01T00:00:00"},
        {"_offset": 2**63},
        {"_offset": -1},
        {"_topic_id": "\0"},
        {"_partition": "0"},
    )
    odd = [json.dumps(whole | change).encode() for change in changes]
    producer = Producer({"bootstrap.servers": settings.require("kafka")})
    for value in (
        b"\xff",
        b"",
        b"[]",
        b'{"_timestamp": "never"}',
        b'{"id": "x", "_timestamp": "2013-01-01T00:00:00Z"}',
        None,
        *odd,
    ):
        producer.produce(spec.live_topic, value, partition=0)
    assert producer.flush(30) == 0
    topic.write(range(10))
    with running(workspace, "hot") as process:
        wait_for(lambda: len(hot_ids(settings)) == 10, "the rows are hot", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
