"""The fast lane and its hot sink, on real servers, in processes of their own that get killed while rows are in flight."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from contextlib import ExitStack

import pytest
import valkey
from confluent_kafka import Producer
from live_lanes import running
from sightings import CLOCK_MS, FEED, Ledger, LiveTopic, Sightings, is_good, record, sighting, wait_for

from lakehouse.catalog import Kafka
from lakehouse.sources.kafka import end_offsets, ensure_topic
from lakehouse.sources.replay import Event, publish
from lakehouse.stack import supervisor
from lakehouse.storage.latest import Latest
from lakehouse.telemetry.latency import latencies

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("victim", ["driver", "kafka"])
@pytest.mark.timeout(1200)
def test_a_kill_loses_nothing_and_counts_nothing_twice(victim: str, sightings: Sightings) -> None:
    """After a driver's kill the one that stands by goes on."""
    settings, spec = sightings.settings, sightings.spec
    total = 3_000
    good = [f"s{number:05}" for number in range(total) if is_good(number)]
    source = Kafka(FEED, partitions=2)
    ensure_topic(settings, source)
    ledger = Ledger(settings, FEED)

    def produce() -> None:
        for number in range(total):
            ledger.send(number, record(number), CLOCK_MS + number)
            if number % 50 == 49:
                time.sleep(0.1)
        ledger.finish()

    with ExitStack() as stack:
        first = stack.enter_context(running(sightings.workspace, "fast"))
        publish(settings, source, [Event(CLOCK_MS, b"warm", sighting(0))])  # the driver compiles its query at the first record
        wait_for(lambda: bool(sightings.hot_ids()), "the first row is hot", first)
        last = first
        if victim == "driver":
            last = stack.enter_context(running(sightings.workspace, "fast", "--stand-by"))
            said = sightings.workspace.root / "fast--stand-by.log"
            wait_for(lambda: f"(process {first.pid} on" in said.read_text(), "the other one stands by", last)
        producing = threading.Thread(target=produce)
        producing.start()
        wait_for(lambda: len(sightings.hot_ids()) > total // 10, "some rows are hot", first)
        if victim == "kafka":
            sightings.kill("kafka")
        else:
            os.killpg(first.pid, signal.SIGKILL)
        landed = len(sightings.hot_ids())
        assert producing.is_alive(), "nothing was in flight"
        assert landed < len(good)
        if victim == "kafka":
            time.sleep(1)
            supervisor.up(sightings.servers)
        wait_for(lambda: len(sightings.hot_ids()) > len(good), "all rows are hot", last)  # number 0 was sent twice
        producing.join()
        assert ledger.acknowledged == set(range(total))
        last.send_signal(signal.SIGTERM)
        assert last.wait(60) == 0
    assert sorted(sightings.hot_ids()) == sorted([*good, "s00000"])
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
    assert sum(end_offsets(settings, spec.dead_letter_topic).values()) >= total - len(good)


@pytest.mark.parametrize("victim", ["sink", "postgres", "valkey", "kafka"])
@pytest.mark.timeout(900)
def test_the_sink_survives_a_kill(victim: str, sightings: Sightings) -> None:
    settings, spec = sightings.settings, sightings.spec
    topic = LiveTopic(settings, spec)
    total = 40_000
    expected = [f"s{number:05}" for number in range(total)]
    with running(sightings.workspace, "hot") as process:
        topic.write(range(100))
        wait_for(lambda: len(sightings.hot_ids()) == 100, "the first rows are hot", process)
        producing = threading.Thread(target=topic.write, args=[range(100, total)])
        producing.start()
        wait_for(lambda: len(sightings.hot_ids()) > 100, "more rows are hot", process)
        if victim == "sink":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            sightings.kill(victim)
            if victim == "valkey":  # and it comes back without its memory
                shutil.rmtree(next((sightings.servers.state / "data" / "valkey").rglob("appendonlydir")))
            time.sleep(1)
            supervisor.up(sightings.servers)
        producing.join()
        assert topic.ledger.acknowledged == set(range(total))
        topic.write(range(total - 500, total))  # as after a crash of the driver
        if victim == "sink":
            with running(sightings.workspace, "hot") as other:
                wait_for(lambda: len(sightings.hot_ids()) >= total, "all rows are hot", other)
        else:
            wait_for(lambda: len(sightings.hot_ids()) >= total, "all rows are hot", process)
            with valkey.Valkey.from_url(settings.require("valkey")) as client:
                latest = Latest(client, spec)
                wait_for(lambda: (latest.get(["gull"]) or {}).get("id") == "s39999", "the latest state is there", process)
                assert latest.is_whole
    assert sorted(sightings.hot_ids()) == expected


def test_what_is_no_row_of_a_lane_is_left_out(sightings: Sightings) -> None:
    settings, spec = sightings.settings, sightings.spec
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
    with running(sightings.workspace, "hot") as process:
        wait_for(lambda: len(sightings.hot_ids()) == 10, "the rows are hot", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
