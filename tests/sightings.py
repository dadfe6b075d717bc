"""A workspace with a live table of birds, whose records and rows a test writes while something is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Message, Producer
from live_lanes import workspace_of

from lakehouse.catalog import Catalog, Kafka
from lakehouse.livetables import LiveSpec, live_tables
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic
from lakehouse.sources.live import SENT_AT
from lakehouse.stack import supervisor
from lakehouse.storage.hot import declare
from lakehouse.workspace import Workspace

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


@dataclass(frozen=True)
class Sightings:
    """The workspace, and what tests ask of it.

    Attributes:
        workspace: The workspace.
        settings: Where its servers are.
        spec: Its live table.
        servers: The workspace whose servers it uses.
    """

    workspace: Workspace
    settings: Settings
    spec: LiveSpec
    servers: Workspace

    def hot_ids(self) -> list[str]:
        """Return the ids of all rows that are hot; none while PostgreSQL is away."""
        try:
            with psycopg.connect(self.settings.require("postgres"), connect_timeout=2) as connection:
                return [row[0] for row in connection.execute(f"SELECT id FROM hot.{FEED}")]
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.OperationalError):
            return []

    def kill(self, part: str) -> None:
        """Kill a server."""
        (server,) = [server for server in supervisor.status(self.servers) if server.part == part]
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)


@pytest.fixture
def sightings(stack: tuple[Workspace, Settings], tmp_path: Path) -> Iterator[Sightings]:
    with workspace_of(stack, tmp_path, FILES, [FEED, f"{FEED}.live", f"{FEED}.dlq"]) as workspace:
        settings = Settings.load(workspace)
        yield Sightings(workspace, settings, live_tables(workspace, Catalog.load(workspace))[FEED], stack[0])


def wait_for(
    condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None, seconds: float = SOON
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        assert process is None or process.poll() is None, f"the process ended before {what}"
        time.sleep(0.1)


def sighting(number: int) -> bytes:
    at = datetime.fromtimestamp(CLOCK_MS / 1000, UTC) + timedelta(milliseconds=number)
    fields = {"id": f"s{number:05}", "bird": ("gull", "tern", "auk")[number % 3], "at": at.isoformat(), "n": number}
    return json.dumps(fields).encode()


def record(number: int) -> bytes:
    """One in fifty breaks a rule, and one in fifty cannot be read."""
    if number % 50 == 7:
        return b"{broken"
    return sighting(number).replace(b'"n": ', b'"n": -') if number % 50 == 9 else sighting(number)


def is_good(number: int) -> bool:
    return number % 50 not in (7, 9)


class Ledger:
    """Sends to a topic, and remembers which numbers the broker acknowledged; those that it did not may be there or not."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.acknowledged: set[int] = set()
        self._topic = topic
        options = {"bootstrap.servers": settings.require("kafka"), "linger.ms": 5, "enable.idempotence": True}
        self._producer = Producer(options)

    def send(self, number: int, value: bytes, timestamp_ms: int = 0) -> None:
        def acknowledge(error: Any, _: Message) -> None:
            if error is None:
                self.acknowledged.add(number)

        headers: dict[str, str | bytes | None] = {SENT_AT: str(time.time_ns() // 1000)}
        options: dict[str, Any] = {"partition": number % 2, "timestamp": timestamp_ms, "headers": headers}
        while True:
            try:
                self._producer.produce(self._topic, value, on_delivery=acknowledge, **options)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait for the answers to all that was sent."""
        assert self._producer.flush(SOON) == 0


class LiveTopic:
    """Writes rows as the fast lane does, at least once."""

    def __init__(self, settings: Settings, spec: LiveSpec) -> None:
        ensure_topic(settings, Kafka(spec.live_topic, partitions=2))
        declare(settings.require("postgres"), spec.name, COLUMNS)
        self.ledger = Ledger(settings, spec.live_topic)

    def write(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            row: dict[str, Any] = json.loads(sighting(number))
            at = datetime.fromtimestamp(CLOCK_MS / 1000, UTC) + timedelta(milliseconds=number)
            row |= {"_topic_id": "t", "_partition": number % 2, "_offset": number // 2, "_timestamp": at.isoformat()}
            self.ledger.send(number, json.dumps(row).encode())
        self.ledger.finish()
