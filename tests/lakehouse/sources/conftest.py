"""A topic of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition

from lakehouse.catalog import Kafka
from lakehouse.settings import Settings
from lakehouse.sources.kafka import begin_offsets, delete_topic, end_offsets
from lakehouse.workspace import Workspace


class Record(NamedTuple):
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@pytest.fixture
def settings(stack: tuple[Workspace, Settings]) -> Settings:
    return stack[1]


@pytest.fixture
def topic(settings: Settings) -> Iterator[Kafka]:
    source = Kafka(f"test-{uuid4().hex}", partitions=2)
    yield source
    delete_topic(settings, source.topic)


@pytest.fixture
def read_all(settings: Settings, topic: Kafka) -> Callable[[], list[Record]]:
    """Return all records of the topic, by partition and offset."""

    def read() -> list[Record]:
        begins, ends = begin_offsets(settings, topic.topic), end_offsets(settings, topic.topic)
        left = sum(ends.values()) - sum(begins.values())
        consumer = Consumer({"bootstrap.servers": settings.require("kafka"), "group.id": "test", "auto.offset.reset": "error"})
        consumer.assign([TopicPartition(topic.topic, number, begin) for number, begin in begins.items()])
        records: list[Record] = []
        while len(records) < left:
            messages = consumer.consume(min(10_000, left - len(records)), 10)
            assert messages, f"{left - len(records)} records are missing"
            assert not any(x.error() for x in messages)
            records += [Record(x.partition(), x.offset(), x.timestamp()[1], x.key(), x.value()) for x in messages]
        consumer.close()
        return sorted(records, key=lambda x: (x.partition, x.offset))

    return read
