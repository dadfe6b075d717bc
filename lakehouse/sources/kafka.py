"""Topics of a Kafka broker: make them, and ask where they begin and end.

kafka-python is the admin client; Spark reads, and :mod:`lakehouse.sources.replay` writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from kafka.net.compat import KafkaNetClient

from lakehouse.catalog import Kafka
from lakehouse.clients import kafka_python
from lakehouse.errors import SourceError
from lakehouse.settings import Settings

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Largest record of a topic that Tidemill makes: a record of 1 MiB and the reasons that a dead letter adds to it."""

_TIMEOUT_MS = 15_000


@dataclass(frozen=True)
class Extent:
    """What a topic holds.

    Attributes:
        topic_id: The id that the broker gave it.
        begin: Partition → the first offset that it still holds.
        end: Partition → the offset that its next record will get.
    """

    topic_id: str
    begin: dict[int, int]
    end: dict[int, int]


@contextmanager
def admin(settings: Settings, timeout_ms: int = _TIMEOUT_MS) -> Iterator[KafkaAdminClient]:
    """Connect to the broker for administration.

    Args:
        settings: Where it is.
        timeout_ms: How long to wait for an answer.

    Raises:
        SourceError: The broker does not answer, or refuses; a :class:`KafkaError` from inside the block becomes one too.
        SettingsError: No broker is known.
    """
    servers = settings.require("kafka")
    client = None
    try:
        client = _connected(request_timeout_ms=timeout_ms, bootstrap_timeout_ms=timeout_ms, **kafka_python(settings))
        yield client
    except KafkaError as error:
        raise SourceError(f"Kafka at {servers}: {error}; check that the broker runs (`tidemill status`).") from error
    finally:
        if client is not None:
            client.close()


def _connected(**options: Any) -> KafkaAdminClient:
    made: list[KafkaNetClient] = []

    def remember(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        return made[0]

    try:
        return KafkaAdminClient(kafka_client=remember, **options)
    except KafkaError:
        for client in made:  # kafka-python does not: its thread would go on trying for ever
            client.close()
        raise


def ensure_topic(settings: Settings, source: Kafka, options: Mapping[str, str] | None = None) -> None:
    """Make a topic when it is not there; one that is there is left as it is.

    Its records never expire by time: replayed records are stamped with the year in which they happened, and the default
    ``retention.ms`` would delete them at once.

    Args:
        settings: Where the broker is.
        source: The topic.
        options: Options of the topic, which win over those here.
    """
    wanted = {
        source.topic: {
            "num_partitions": source.partitions or settings.kafka.partitions,
            "configs": {
                "retention.ms": "-1",
                "retention.bytes": "-1",
                "max.message.bytes": str(MAX_MESSAGE_BYTES),
                "message.timestamp.type": "CreateTime",
                **(options or {}),
            },
        }
    }
    with admin(settings) as client:
        if _describe(client, source.topic) is None:
            with suppress(TopicAlreadyExistsError):  # another process was faster
                client.create_topics(wanted)
            client.wait_for_topics([source.topic], timeout_ms=_TIMEOUT_MS)


def delete_topic(settings: Settings, topic: str) -> None:
    """Delete a topic and all that it holds; nothing happens when it is not there."""
    with admin(settings) as client:
        if _describe(client, topic) is not None:
            with suppress(UnknownTopicOrPartitionError):  # gone already: what is described may be a moment old
                client.delete_topics([topic])


def topic_id(settings: Settings, topic: str) -> str | None:
    """Return the id that the broker gave a topic when it was made, or ``None`` when it is not there.

    A topic that was deleted and made again has the same name and another id.
    """
    with admin(settings) as client:
        found = _describe(client, topic)
    return None if found is None else str(found["topic_id"])


def begin_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Return the first offset that each partition still holds; empty when the topic is not there."""
    return _offsets(settings, topic, OffsetSpec.EARLIEST)


def end_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Return the offset that the next record of each partition will get; empty when the topic is not there."""
    return _offsets(settings, topic, OffsetSpec.LATEST)


def recent_offsets(settings: Settings, topic: str, span: timedelta) -> dict[int, int]:
    """Return for each partition the offset of the first record that is at most so much older than the topic's newest one.

    Records that claim to be of the future do not count as the newest.
    """
    with admin(settings) as client:
        found = _describe(client, topic)
        if found is None:
            return {}
        newest = max(_answers(client, found, topic, OffsetSpec.MAX_TIMESTAMP).values(), key=lambda where: where.timestamp)
        since = min(newest.timestamp, int(time.time() * 1000)) - int(span.total_seconds() * 1000)
        ends = _ask(client, found, topic, OffsetSpec.LATEST)
        first = _ask(client, found, topic, max(0, since))
        return {partition: offset if offset >= 0 else ends[partition] for partition, offset in first.items()}


def first_offset_from(settings: Settings, topic: str, partition: int, offset: int) -> int | None:
    """Return the offset of the first record at or behind an offset; ``None`` when there is none.

    Offsets may be jumped over: by the markers of transactions, and by compaction.

    Raises:
        SourceError: The broker does not answer.
    """
    where = TopicPartition(topic, partition)
    consumer = KafkaConsumer(**kafka_python(settings), enable_auto_commit=False, max_poll_records=1)
    try:
        consumer.assign([where])
        consumer.seek(where, offset)
        end = consumer.end_offsets([where])[where]
        while consumer.position(where) < end:
            for records in consumer.poll(timeout_ms=1_000).values():
                return int(records[0].offset)
        return None
    except KafkaError as error:
        raise SourceError(f"Kafka at {settings.require('kafka')}: {error}; check that the broker runs.") from error
    finally:
        consumer.close()


def extents(settings: Settings, topics: Iterable[str], timeout_ms: int = _TIMEOUT_MS) -> dict[str, Extent]:
    """Return what each topic holds, over one connection; a topic that is not there is left out."""
    held = {}
    with admin(settings, timeout_ms) as client:
        for topic in topics:
            if (found := _describe(client, topic)) is not None:
                begin, end = (_ask(client, found, topic, spec) for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST))
                held[topic] = Extent(str(found["topic_id"]), begin, end)
    return held


def _offsets(settings: Settings, topic: str, spec: Any) -> dict[int, int]:
    with admin(settings) as client:
        found = _describe(client, topic)
        return {} if found is None else _ask(client, found, topic, spec)


def _ask(client: KafkaAdminClient, found: dict[str, Any], topic: str, spec: Any) -> dict[int, int]:
    return {partition: int(where.offset) for partition, where in _answers(client, found, topic, spec).items()}


def _answers(client: KafkaAdminClient, found: dict[str, Any], topic: str, spec: Any) -> dict[int, Any]:
    numbers = sorted(int(row["partition_index"]) for row in found["partitions"])
    answer = client.list_partition_offsets({TopicPartition(topic, number): spec for number in numbers})
    return {partition.partition: where for partition, where in sorted(answer.items())}


def _describe(client: KafkaAdminClient, topic: str) -> dict[str, Any] | None:
    (found,) = client.describe_topics([topic])
    if found["error_code"] == UnknownTopicOrPartitionError.errno:
        return None
    if found["error_code"]:
        raise for_code(found["error_code"])(topic)
    return dict(found)
