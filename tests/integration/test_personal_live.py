"""Personal data in the fast lane: sealed before it leaves the query, on its way to topics, hot store and browsers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import valkey
from confluent_kafka import Consumer, TopicPartition
from guests import BRONZE, SILVER, SUITE, booking
from live_lanes import running, workspace_of
from sightings import wait_for

from lakehouse.catalog import Kafka
from lakehouse.control import Control
from lakehouse.forgetting import forget
from lakehouse.security.audit import Audit
from lakehouse.security.keyring import Keyring
from lakehouse.security.pii import payload_place, place
from lakehouse.settings import Settings
from lakehouse.sources.kafka import end_offsets, ensure_topic
from lakehouse.sources.replay import Event, publish
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

FEED = "guests"
FILES = {
    "tidemill.toml": '[workspace]\nname = "guests"\n[s3]\nbucket = "guests"\n',
    "bronze/guests.py": BRONZE.format(feed=FEED, topic=FEED),
    "silver/guests.py": SILVER.format(feed=FEED),
    "expectations/silver/guests.py": SUITE,
    "live/guests.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Silver
from lakehouse.livetables import live

@live("guests", keys=["id"], sequence_by="at", retention="1 day", window="1 hour")
def guests(seen: Annotated[DataFrame, Silver("guests")]) -> DataFrame:
    return seen.select("_record", "id", "at", "airline", "email", "name")
""",
}
CLOCK_MS = 1_357_000_000_000


@pytest.fixture
def guests(stack: tuple[Workspace, Settings], tmp_path: Path) -> Iterator[Workspace]:
    with workspace_of(stack, tmp_path, FILES, [FEED, f"{FEED}.live", f"{FEED}.dlq"]) as workspace:
        yield workspace


def hot(settings: Settings) -> list[dict[str, Any]]:
    try:
        with psycopg.connect(settings.require("postgres"), connect_timeout=2) as connection:
            return [
                {"id": row[0], "email": row[1], "name": row[2]}
                for row in connection.execute("SELECT id, email, name FROM hot.guests ORDER BY id")
            ]
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return []


def records(settings: Settings, topic: str) -> list[bytes]:
    config = {"bootstrap.servers": settings.require("kafka"), "group.id": "looks", "auto.offset.reset": "earliest"}
    ends = end_offsets(settings, topic)
    consumer = Consumer(config)
    consumer.assign([TopicPartition(topic, number, 0) for number in ends])
    found: list[bytes] = []
    while len(found) < sum(ends.values()):
        found += [message.value() or b"" for message in consumer.consume(100, 1) if message.error() is None]
    consumer.close()
    return found


@pytest.mark.timeout(600)
def test_nothing_personal_leaves_the_query_in_the_clear(guests: Workspace) -> None:
    settings = Settings.load(guests)
    source = Kafka(FEED, partitions=2)
    ensure_topic(settings, source)
    bad = b'{"email": "ada@example.org", "airline": "UA", "id": 7}'
    values = [
        booking(1, "ada@example.org"),
        booking(2, "ben@example.org"),
        booking(3, "Ada@example.org "),
        bad,
        b"\xff ada@example.org",
    ]
    with running(guests, "fast") as process:
        publish(settings, source, [Event(CLOCK_MS + n, str(n).encode(), value) for n, value in enumerate(values)])
        wait_for(lambda: len(hot(settings)) == 3, "all rows are hot", process)
        wait_for(lambda: sum(end_offsets(settings, f"{FEED}.dlq").values()) >= 2, "the letters are there", process)
    rows = hot(settings)
    with closing(Control(settings.require("postgres"))) as control, closing(Audit(control, Objects(settings))) as audit:
        keyring = Keyring(guests, settings, control)
        names = [row["name"] for row in rows]
        assert keyring.reveal(names, place("silver.guests", "name")) == [
            "Zoë ada@example.org",
            "Zoë ben@example.org",
            "Zoë Ada@example.org ",
        ]
        letters = [json.loads(x) for x in records(settings, f"{FEED}.dlq")]
        opened = {
            keyring.unseal(base64.b64decode(x["value"]), x["payload_key_id"], payload_place(FEED, "value")) for x in letters
        }
        assert opened == {bad, b"\xff ada@example.org"}
        with valkey.Valkey.from_url(settings.require("valkey")) as client:
            kept = [client.dump(key) for key in client.keys("*")]
        everything = [*records(settings, f"{FEED}.live"), *records(settings, f"{FEED}.dlq"), *kept, repr(rows).encode()]
        assert not [x for x in everything if b"example.org" in x]
        found = forget(guests, settings, control, audit, "ada@example.org")
        assert [(x.place, x.found, x.readable) for x in found.traces] == [("live.guests", 2, 0)]
        assert keyring.reveal(names, place("silver.guests", "name")) == [None, "Zoë ben@example.org", None]


@pytest.mark.timeout(600)
def test_a_feed_that_cannot_be_protected_is_refused(guests: Workspace) -> None:
    settings = Settings.load(guests)
    with closing(Control(settings.require("postgres"))) as control:
        Keyring(guests, settings, control)
        (guests.state / "master.key").unlink()
        ensure_topic(settings, Kafka(FEED, partitions=2))
        with running(guests, "fast") as process:
            publish(settings, Kafka(FEED, partitions=2), [Event(CLOCK_MS, b"1", booking(1, "ada@example.org"))])
            wait_for(lambda: process.poll() is not None, "the lane gives up")
            assert process.returncode != 0
        (state,) = control.run("SELECT * FROM tidemill.table_state WHERE \"table\" = 'live.guests'")
    assert (state["state"], "master key" in state["reason"]) == ("stopped", True)
    assert hot(settings) == []
