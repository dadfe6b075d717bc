from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zlib import crc32

import pytest

from lakehouse.catalog import Catalog, Kafka
from lakehouse.errors import SourceError, UnknownNameError
from lakehouse.replay import flights
from lakehouse.settings import Settings
from lakehouse.sources.kafka import delete_topic, end_offsets, ensure_topic
from lakehouse.sources.replay import Event, ReplayResult, publish, replay, replayer
from lakehouse.workspace import Workspace

DAY = (datetime(2013, 3, 1), datetime(2013, 3, 2))


@pytest.mark.integration
def test_records_are_stamped_with_their_moment_and_keep_the_order_of_a_key(
    settings: Settings, topic: Kafka, read_all: Callable[[], list]
) -> None:
    events = list(flights.events(*DAY))
    reports: list[int] = []
    result = publish(settings, topic, events, on_progress=lambda x: reports.append(x.acked))
    assert (result.sent, result.acked, result.skipped, result.clock_ms) == (len(events), len(events), 0, events[-1].timestamp_ms)
    assert result.rate > 0
    assert reports[-1] == len(events)
    expected = {n: [Event(*x) for x in events if crc32(x.key or b"") % 2 == n] for n in (0, 1)}
    records = read_all()
    assert {n: [Event(*x[2:]) for x in records if x.partition == n] for n in (0, 1)} == expected


@pytest.mark.integration
def test_what_is_there_is_not_sent_again(settings: Settings, topic: Kafka, read_all: Callable[[], list]) -> None:
    events = list(flights.events(*DAY))
    publish(settings, topic, events[:700])
    result = publish(settings, topic, events, resume=True)
    assert (result.skipped, result.acked) == (700, len(events) - 700)
    again = publish(settings, topic, events, resume=True)
    assert (again.skipped, again.sent, again.clock_ms) == (len(events), 0, None)
    assert sorted(x.value for x in read_all()) == sorted(x.value for x in events)


@pytest.mark.integration
def test_without_resume_the_same_events_come_twice(settings: Settings, topic: Kafka) -> None:
    events = list(flights.events(*DAY))[:10]
    publish(settings, topic, events)
    publish(settings, topic, events)
    assert sum(end_offsets(settings, topic.topic).values()) == 20


@pytest.mark.integration
def test_a_killed_replay_goes_on_where_the_topic_ends(
    settings: Settings, topic: Kafka, read_all: Callable[[], list], tmp_path: Path
) -> None:
    ensure_topic(settings, topic)
    script = tmp_path / "replay.py"
    script.write_text(
        "from lakehouse.catalog import Kafka\nfrom lakehouse.replay import flights\nfrom lakehouse.settings import Settings\n"
        "from lakehouse.sources.replay import publish\nfrom datetime import datetime\n"
        f"publish(Settings(), Kafka({topic.topic!r}), flights.events(datetime(2013, 1, 1), datetime(2013, 3, 1)))\n"
    )
    environment = os.environ | {"TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.require("kafka")}
    with subprocess.Popen([sys.executable, str(script)], env=environment, cwd=Path(__file__).parents[3]) as process:
        try:
            while sum(end_offsets(settings, topic.topic).values()) < 5_000:
                assert process.poll() is None, "the replay ended before it could be killed"
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
    time.sleep(0.5)  # what is on the wire still arrives
    there = sum(end_offsets(settings, topic.topic).values())
    events = list(flights.events(datetime(2013, 1, 1), datetime(2013, 3, 1)))
    result = publish(settings, topic, events, resume=True)
    assert 5_000 <= there < len(events)
    assert (result.skipped, result.acked) == (there, len(events) - there)
    expected = {n: [Event(*x) for x in events if crc32(x.key or b"") % 2 == n] for n in (0, 1)}
    records = read_all()
    assert {n: [Event(*x[2:]) for x in records if x.partition == n] for n in (0, 1)} == expected


@pytest.mark.integration
def test_speed_sets_the_pace(settings: Settings, topic: Kafka) -> None:
    events = [Event(1_357_000_000_000 + n * 60_000, b"a", b"x") for n in range(11)]  # ten minutes
    result = publish(settings, topic, events, speed=600)
    assert result.acked == 11
    assert 1.0 <= result.seconds < 3.0


@pytest.mark.integration
def test_a_large_record_and_a_tombstone_pass_but_not_one_beyond_the_topics_limit(settings: Settings, topic: Kafka) -> None:
    large = Event(1_357_000_000_000, None, b"x" * 1024 * 1024 * 2)
    assert publish(settings, topic, [large, Event(1_357_000_000_001, b"k", None)]).acked == 2
    with pytest.raises(SourceError, match="MSG_SIZE_TOO_LARGE"):
        publish(settings, topic, [Event(1_357_000_000_000, b"k", b"x" * 1024 * 1024 * 5)])


@pytest.mark.integration
def test_a_record_that_the_broker_refuses_is_an_error(settings: Settings, topic: Kafka) -> None:
    """The topic takes the batch only as a whole: its own limit is below the producer's."""
    from lakehouse.sources.kafka import admin

    with admin(settings) as client:
        client.create_topics({topic.topic: {"num_partitions": 2, "configs": {"max.message.bytes": "1000"}}})
        client.wait_for_topics([topic.topic])
    incompressible = os.urandom(5_000)
    with pytest.raises(SourceError, match=r"did not take an event .* run the replay again"):
        publish(settings, topic, [Event(1_357_000_000_000, b"k", incompressible)])


@pytest.mark.integration
def test_a_feed_of_the_workspace_is_replayed_into_its_topic(
    settings: Settings, reference_workspace: Workspace, catalog: Catalog
) -> None:
    try:
        reports: list[ReplayResult] = []
        start, end = datetime(2013, 1, 2), datetime(2013, 1, 3)
        result = replay(settings, reference_workspace, catalog, "weather", start=start, end=end, on_progress=reports.append)
        assert (result.topic, result.acked) == ("weather", 72)
        assert reports
        assert replay(settings, reference_workspace, catalog, "weather", start=start, end=end).skipped == 72
        assert sum(end_offsets(settings, "weather").values()) == 72
    finally:
        delete_topic(settings, "weather")


def test_a_feed_without_a_replayer_lists_those_that_have_one(reference_workspace: Workspace) -> None:
    with pytest.raises(UnknownNameError, match="replayers: bookings, flights, weather"):
        replayer(reference_workspace, "trains")
    with pytest.raises(UnknownNameError, match="replayers: bookings, flights, weather"):
        replayer(reference_workspace, "encode")
