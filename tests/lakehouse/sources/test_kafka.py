from __future__ import annotations

import gc
import logging
import re
import threading
import time
import warnings
from datetime import timedelta

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from lakehouse.catalog import Kafka
from lakehouse.errors import SettingsError, SourceError
from lakehouse.settings import Settings
from lakehouse.sources.kafka import admin, begin_offsets, delete_topic, end_offsets, ensure_topic, recent_offsets, topic_id
from lakehouse.sources.replay import Event, publish


@pytest.mark.integration
def test_a_topic_is_made_once_and_never_expires_records(settings: Settings, topic: Kafka) -> None:
    assert topic_id(settings, topic.topic) is None
    ensure_topic(settings, topic)
    first = topic_id(settings, topic.topic)
    ensure_topic(settings, Kafka(topic.topic, partitions=5))  # there already: left as it is
    assert topic_id(settings, topic.topic) == first is not None
    assert end_offsets(settings, topic.topic) == {0: 0, 1: 0}
    with admin(settings) as client:
        found = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.topic)])
    options = {name: row["value"] for names in found.values() for rows in names.values() for name, row in rows.items()}
    assert (options["retention.ms"], options["max.message.bytes"]) == ("-1", str(4 * 1024 * 1024))


@pytest.mark.integration
def test_a_topic_made_again_has_another_id(settings: Settings, topic: Kafka) -> None:
    ensure_topic(settings, topic)
    first = topic_id(settings, topic.topic)
    delete_topic(settings, topic.topic)
    delete_topic(settings, topic.topic)  # harmless
    ensure_topic(settings, topic)
    assert topic_id(settings, topic.topic) not in (first, None)


@pytest.mark.integration
def test_offsets_begin_after_deleted_records_and_end_after_the_last(settings: Settings, topic: Kafka) -> None:
    assert begin_offsets(settings, topic.topic) == end_offsets(settings, topic.topic) == {}
    source = Kafka(topic.topic, partitions=1)
    publish(settings, source, [Event(1_357_000_000_000 + n, b"a", b"x") for n in range(5)])
    assert (begin_offsets(settings, topic.topic), end_offsets(settings, topic.topic)) == ({0: 0}, {0: 5})
    with admin(settings) as client:
        client.delete_records({TopicPartition(topic.topic, 0): 3})
    assert (begin_offsets(settings, topic.topic), end_offsets(settings, topic.topic)) == ({0: 3}, {0: 5})


@pytest.mark.integration
def test_recent_records_are_found_by_the_feed_clock(settings: Settings, topic: Kafka) -> None:
    assert recent_offsets(settings, topic.topic, timedelta(hours=1)) == {}
    ensure_topic(settings, topic)
    assert recent_offsets(settings, topic.topic, timedelta(hours=1)) == {0: 0, 1: 0}
    start, minute = 1_357_000_000_000, 60_000
    publish(settings, Kafka(topic.topic), [Event(start + n * minute, b"a", b"x") for n in range(100)])
    held = end_offsets(settings, topic.topic)
    (number,) = [partition for partition, end in held.items() if end]
    recent = recent_offsets(settings, topic.topic, timedelta(minutes=9, seconds=30))
    assert recent == {number: 90, 1 - number: 0}
    assert recent_offsets(settings, topic.topic, timedelta(days=1)) == {0: 0, 1: 0}
    publish(settings, Kafka(topic.topic), [Event(int(time.time() * 1000) + 10**11, b"a", b"of the future")])
    assert recent_offsets(settings, topic.topic, timedelta(minutes=1))[number] == 100


# kafka-python leaves the sockets of failed attempts to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_broker_that_is_not_there_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    caplog.set_level(logging.CRITICAL + 1, logger="kafka")  # a captured record would keep the sockets below alive
    threads, message = threading.active_count(), ""
    with warnings.catch_warnings():
        # kafka-python leaves the sockets of failed attempts to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with admin(nowhere, timeout_ms=500):
                pass
        except SourceError as error:
            message = str(error)
        gc.collect()
    assert threading.active_count() == threads
    assert re.fullmatch(r"Kafka at 127\.0\.0\.1:1: .*; check that the broker runs.*", message)


def test_without_an_address_the_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="TIDEMILL_KAFKA__BOOTSTRAP_SERVERS"):
        topic_id(Settings.model_validate({}), "any")
