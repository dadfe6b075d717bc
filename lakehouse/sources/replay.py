"""Publish recorded events to a topic, in order, at any speed, each stamped with the moment of its publication back then.

confluent-kafka writes: from one Python thread, sharing two cores with the broker, it sent 140–220 k events of 300 bytes a
second (lz4, idempotent, acks=all), where kafka-python sent 15 k. Its ``produce_batch`` cannot set timestamps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from zlib import crc32

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from lakehouse.catalog import Catalog, Kafka
from lakehouse.clients import librdkafka
from lakehouse.declarations import load_module
from lakehouse.errors import SourceError, UnknownNameError
from lakehouse.settings import Settings
from lakehouse.sources.kafka import MAX_MESSAGE_BYTES, begin_offsets, end_offsets, ensure_topic
from lakehouse.sources.live import SENT_AT
from lakehouse.workspace import Workspace

_log = logging.getLogger(__name__)
_REPORT_SECONDS = 0.5
_CHECK_EVERY = 2_000  # events between two looks at the clock


class Event(NamedTuple):
    """One record to publish.

    Attributes:
        timestamp_ms: Moment of publication, milliseconds since 1970 UTC; becomes the record's timestamp.
        key: The record's key; records of one key keep their order.
        value: The record's bytes; ``None`` is a tombstone.
    """

    timestamp_ms: int
    key: bytes | None
    value: bytes | None


Events = Callable[[datetime | None, datetime | None], Iterator[Event]]


@dataclass
class ReplayResult:
    """How far a replay is, or came.

    Attributes:
        topic: Where the events go.
        sent: Events handed to the producer by this replay.
        acked: Events that the broker confirmed to this replay.
        skipped: Events that were in the topic already.
        seconds: Time since the replay began.
        clock_ms: Timestamp of the last event sent: the feed clock; ``None`` before the first.
    """

    topic: str
    sent: int = 0
    acked: int = 0
    skipped: int = 0
    seconds: float = 0.0
    clock_ms: int | None = None

    @property
    def rate(self) -> float:
        """Confirmed events a second, since the replay began."""
        return self.acked / self.seconds if self.seconds else 0.0


OnProgress = Callable[[ReplayResult], None]


def replay(
    settings: Settings,
    workspace: Workspace,
    catalog: Catalog,
    feed: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    speed: float | None = None,
    resume: bool = True,
    on_progress: OnProgress = lambda _: None,
) -> ReplayResult:
    """Replay a feed of a workspace into its topic, which is made when it is not there.

    Args:
        settings: Where the broker is.
        workspace: Holds the replayer: ``replay/<feed>.py``, beside the tables, with a function ``events(start, end)``.
        catalog: The tables of the workspace.
        feed: Name of the feed.
        start: First moment of publication; the beginning of the data when left out.
        end: First moment of publication that is no more wanted; the end of the data when left out.
        speed: How many times faster than real time; as fast as the broker takes them when left out.
        resume: See :func:`publish`.
        on_progress: See :func:`publish`.

    Raises:
        SourceError: The broker did not take all events.
        UnknownNameError: No such feed, or it has no replayer.
    """
    source = catalog[f"bronze.{feed}"].source
    assert source is not None  # a bronze table always has one
    events = replayer(workspace, feed)
    return publish(settings, source, events(start, end), speed=speed, resume=resume, on_progress=on_progress)


def replayer(workspace: Workspace, feed: str) -> Events:
    """Return the function ``events(start, end)`` of a workspace's replayer.

    Raises:
        UnknownNameError: The feed has none.
    """
    folder = workspace.tables / "replay"
    file = folder / f"{feed}.py"
    events = getattr(load_module(file, "replay"), "events", None) if file.is_file() else None
    if events is None:
        there = [x.stem for x in sorted(folder.glob("[!_]*.py")) if "def events(" in x.read_text()]
        raise UnknownNameError(f"{file} with a function `events` is not there; replayers: {', '.join(there) or 'none'}.")
    found: Events = events
    return found


def publish(
    settings: Settings,
    source: Kafka,
    events: Iterable[Event],
    *,
    speed: float | None = None,
    resume: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> ReplayResult:
    """Publish events to a topic, which is made when it is not there, and wait until the broker confirmed each one.

    Args:
        settings: Where the broker is.
        source: The topic.
        events: What to publish, in order of timestamp and key where it shall be possible to resume.
        speed: How many times faster than real time; as fast as the broker takes them when left out.
        resume: Skip what the topic has: in each partition, the events up to the timestamp and key of its last record. A
            replay that was killed then goes on where it was, and one that is through sends nothing. It presumes that the
            number of partitions stayed, and that nobody else writes later timestamps into the topic.
        on_progress: Called about twice a second, and at the end; an exception from it ends the replay.

    Raises:
        SourceError: The broker did not take all events.
    """
    ensure_topic(settings, source)
    ends = end_offsets(settings, source.topic)
    done = _last_records(settings, source.topic, ends) if resume else {}
    run = _Run(settings, source.topic, speed, on_progress)
    for event in events:
        key = event.key or b""
        partition = crc32(key) % len(ends)
        if partition in done and (event.timestamp_ms, key) <= done[partition]:
            run.result.skipped += 1
        else:
            run.send(event, partition)
    return run.finish()


class _Run:
    """One producer at work."""

    def __init__(self, settings: Settings, topic: str, speed: float | None, on_progress: OnProgress) -> None:
        config = {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "delivery.report.only.error": True,  # a Python call for each of a million confirmations halves the rate
            "on_delivery": self._failed,
        }
        self.result = ReplayResult(topic)
        self._producer = Producer(_client(settings) | config, logger=_log)
        self._speed = speed
        self._on_progress = on_progress
        self._failures = 0
        self._cause: Any = None
        self._began = self._reported = time.monotonic()
        self._origin: tuple[int, float] | None = None  # the first event: its timestamp, and when it was sent

    def _failed(self, error: Any, _: Any) -> None:
        self._failures += 1
        self._cause = self._cause or error

    def send(self, event: Event, partition: int) -> None:
        result = self.result
        if self._speed is not None:
            self._wait_for(event.timestamp_ms, self._speed)
        while True:
            try:
                sent: dict[str, str | bytes | None] = {SENT_AT: str(time.time_ns() // 1000)}
                self._producer.produce(
                    result.topic, event.value, event.key, partition, timestamp=event.timestamp_ms, headers=sent
                )
                break
            except BufferError:  # the local queue is full: the broker is slower than we are
                self._serve(0.05)
            except KafkaException as error:
                raise self._error(error) from error
        result.sent += 1
        result.clock_ms = event.timestamp_ms
        if result.sent % _CHECK_EVERY == 0:
            self._serve(0)

    def finish(self) -> ReplayResult:
        while len(self._producer):
            self._serve(0.1)
        self._serve(0)
        self._on_progress(self.result)
        return self.result

    def _wait_for(self, timestamp_ms: int, speed: float) -> None:
        self._origin = self._origin or (timestamp_ms, time.monotonic())
        due = self._origin[1] + (timestamp_ms - self._origin[0]) / 1000 / speed
        while (left := due - time.monotonic()) > 0:
            self._serve(min(left, 0.1))

    def _serve(self, seconds: float) -> None:
        """Serve the producer's callbacks for up to ``seconds``, and report when it is time."""
        self._producer.poll(seconds)
        if self._failures:
            raise self._error(self._cause)
        now = time.monotonic()
        self.result.acked = self.result.sent - len(self._producer)
        self.result.seconds = now - self._began
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self._on_progress(self.result)

    def _error(self, cause: Any) -> SourceError:
        return SourceError(
            f"Kafka did not take an event for topic {self.result.topic} ({cause}); check the broker (`tidemill status`) and run "
            "the replay again: it goes on where the topic ends."
        )


def _last_records(settings: Settings, topic: str, ends: dict[int, int]) -> dict[int, tuple[int, bytes]]:
    begins = begin_offsets(settings, topic)
    wanted = [TopicPartition(topic, number, end - 1) for number, end in ends.items() if end > begins[number]]
    found: dict[int, tuple[int, bytes]] = {}
    if not wanted:
        return found
    config = {"group.id": "tidemill-replay", "enable.auto.commit": False, "auto.offset.reset": "error"}
    consumer = Consumer(_client(settings) | config, logger=_log)
    try:
        consumer.assign(wanted)
        deadline = time.monotonic() + 30
        while len(found) < len(wanted):
            if time.monotonic() > deadline:
                raise SourceError(f"The last records of topic {topic} cannot be read; check the broker (`tidemill status`).")
            for message in consumer.consume(len(wanted), 0.5):
                if message.error():
                    raise SourceError(f"The last records of topic {topic} cannot be read: {message.error()}.")
                if (number := message.partition()) is not None:
                    found[number] = (message.timestamp()[1], message.key() or b"")
    finally:
        consumer.close()
    return found


def _client(settings: Settings) -> dict[str, Any]:
    return {"client.id": "tidemill-replay", **librdkafka(settings)}
