"""The hot sink: live topics → PostgreSQL and Valkey, as one of a group of consumers that share the partitions.

A live topic may hold a row twice, and a crash reads rows again: both stores go by the source record, so neither counts it twice.
Offsets are committed only when both stores have the rows. While one of them is away, the sink holds what it read, and waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
import valkey
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from lakehouse.clients import librdkafka, postgres_dsn, valkey_client
from lakehouse.control import Control
from lakehouse.errors import SourceError
from lakehouse.lanes.trouble import pause
from lakehouse.livetables import LiveSpec, WindowSpec
from lakehouse.settings import Settings
from lakehouse.sources.kafka import topic_id
from lakehouse.sources.live import drain, read_row, sent_us
from lakehouse.storage.hot import HotTable, declared
from lakehouse.storage.latest import Latest
from lakehouse.storage.windows import WindowTable
from lakehouse.telemetry.latency import Stopwatch

log = logging.getLogger(__name__)

GROUP = "tidemill-hot"
_MOST = 10_000  # rows of one transaction
_AWAY = (
    ConnectionError,
    psycopg.OperationalError,  # also: no room left on its disk
    psycopg.InterfaceError,
    valkey.ConnectionError,
    valkey.TimeoutError,
    valkey.exceptions.OutOfMemoryError,
    valkey.exceptions.ReadOnlyError,
)


@dataclass
class _Stores:
    """Where one live table is kept, over connections that are open."""

    table: HotTable
    latest: Latest
    watch: Stopwatch
    topic_id: str
    ends: dict[int, int] = field(default_factory=dict)


class HotSink:
    """Writes the live tables of a workspace until it is asked to stop."""

    def __init__(self, settings: Settings, tables: Mapping[str, LiveSpec], control: Control) -> None:
        """Plan; nothing is connected yet."""
        self._settings = settings
        self._tables = {spec.live_topic: spec for spec in tables.values()}
        self._control = control
        self._stop = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._valkey: valkey.Valkey | None = None
        self._stores: dict[str, _Stores] = {}

    def stop(self) -> None:
        """Ask :meth:`run` to end after the rows in hand; safe from a signal handler or another thread."""
        self._stop.set()

    def run(self) -> None:
        """Write rows as they come, until :meth:`stop`.

        Raises:
            SourceError: The broker refuses this client.
        """
        consumer = Consumer(
            {
                **librdkafka(self._settings),
                "group.id": GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,  # a commit names what both stores have: see _ends
                "auto.offset.reset": "earliest",
                # Both bound how long the others wait for a copy that was killed: the first as it ran, the second as it joined. A
                # store may be away for longer than that; then this consumer joins again, and what it wrote twice counts once.
                "session.timeout.ms": 10_000,
                "max.poll.interval.ms": 60_000,
                "fetch.wait.max.ms": 20,
                "fetch.min.bytes": 1 << 17,
                "topic.metadata.refresh.interval.ms": 5_000,  # a live topic is made when its lane first starts
                "allow.auto.create.topics": False,
            },
            logger=log,
        )
        with closing(consumer):
            consumer.subscribe(list(self._tables))
            while not self._stop.is_set():
                messages = self._read(consumer)
                if messages and self._write(messages):
                    consumer.commit(offsets=_ends(messages), asynchronous=True)
                self._show()
        self._disconnect()

    def _read(self, consumer: Consumer) -> list[Message]:
        """Return the messages that are there; the broker's errors are logged, but for those that end it."""
        found = drain(consumer, _MOST)
        for message in found:
            error = message.error()
            if error is None or error.code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                continue
            if error.fatal():
                raise SourceError(f"Kafka at {self._settings.require('kafka')}: {error}; check that the broker runs.")
            log.info("Kafka says: %s", error)  # the client goes on by itself
        return [message for message in found if message.error() is None]

    def _write(self, messages: Sequence[Message]) -> bool:
        """Write messages to both stores, however long that takes; false when asked to stop meanwhile."""
        tries = 0
        while not self._stop.is_set():
            try:
                for topic in {str(message.topic()) for message in messages}:
                    self._land(self._tables[topic], [message for message in messages if message.topic() == topic])
            except _AWAY as error:
                tries += 1
                log.info("A store is away", exc_info=error)
                self._disconnect()
                if not isinstance(error, psycopg.Error):  # PostgreSQL cannot be told that it is away itself
                    self._say(self._tables.values(), "paused", f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
                self._stop.wait(pause(tries))
            else:
                if tries:
                    self._say(self._tables.values(), "running")
                return True
        return False

    def _land(self, spec: LiveSpec, messages: Sequence[Message]) -> None:
        stores = self._stores.get(spec.name) or self._connect(spec)
        found: list[tuple[Message, dict[str, Any]]] = []
        for message in messages:
            row = read_row(message.value())
            if row is None:
                log.warning("%s partition %s offset %s holds no row", message.topic(), message.partition(), message.offset())
            else:
                found.append((message, row))
        landed = stores.table.land([row for _, row in found])
        if landed.refused:
            aside = {id(row) for row in landed.refused}
            found = [(message, row) for message, row in found if id(row) not in aside]
        if not stores.latest.is_whole:
            stores.latest.rebuild(stores.table.latest())
        streams: dict[int, list[tuple[int, bytes]]] = {}
        for message, _ in found:
            streams.setdefault(message.partition() or 0, []).append((message.offset() or 0, message.value() or b""))
        for partition, entries in streams.items():
            if entries[0][0] < stores.ends.get(partition, 0):  # read once more, or of a topic that was made again
                stores.topic_id = self._topic_id(spec)
            stores.ends[partition] = entries[-1][0] + 1
        with stores.latest.together() as latest:
            latest.put([row for _, row in found], [message.value() or b"" for message, _ in found])
            for partition, entries in streams.items():
                latest.append(stores.topic_id, partition, entries)
            if landed.written:
                latest.forget(stores.table.clock - spec.retention)
        _record(stores.watch, found)

    def _show(self) -> None:
        """Show how old the rows were; nobody waits for that."""
        try:
            for stores in self._stores.values():
                stores.watch.publish()
        except valkey.ValkeyError as error:
            log.info("Nobody could be told how old rows are", exc_info=error)

    def _connect(self, spec: LiveSpec) -> _Stores:
        if self._connection is None:
            self._connection = psycopg.connect(postgres_dsn(self._settings), autocommit=True, connect_timeout=5)
            # A store that does not answer is as good as gone; nothing here takes a minute.
            self._valkey = valkey_client(self._settings, socket_timeout=60, socket_connect_timeout=5)
        assert self._valkey is not None
        columns = declared(self._connection, spec.name)
        if columns is None:  # the lane declares a table before it writes its first row
            raise SourceError(f"Topic {spec.live_topic} holds rows, and no fast lane says of what: `tidemill run --lane fast`.")
        kind = WindowTable if isinstance(spec, WindowSpec) else HotTable
        table = kind(self._connection, spec, columns)
        table.prepare()
        watch = Stopwatch(self._valkey, spec.name, "hot")
        self._stores[spec.name] = _Stores(table, Latest(self._valkey, spec), watch, self._topic_id(spec))
        self._say([spec], "running")
        return self._stores[spec.name]

    def _topic_id(self, spec: LiveSpec) -> str:
        try:
            return topic_id(self._settings, spec.live_topic) or ""
        except SourceError as error:  # the broker is away, as a store may be
            raise ConnectionError(str(error)) from error

    def _disconnect(self) -> None:
        self._stores.clear()
        if self._connection is not None:
            self._connection.close()
        if self._valkey is not None:
            self._valkey.close()  # type: ignore[no-untyped-call]  # not in its types
        self._connection = self._valkey = None

    def _say(self, specs: Any, state: str, reason: str = "") -> None:
        for spec in specs:
            self._control.say(f"hot.{spec.name}", state, reason)


def _record(watch: Stopwatch, found: Sequence[tuple[Message, Mapping[str, Any]]]) -> None:
    """Count how old rows are, now that both stores have them."""
    now = time.time_ns() // 1000
    gated = [message.timestamp()[1] * 1000 for message, _ in found]
    sent = [(since, at) for (message, row), at in zip(found, gated, strict=True) if (since := sent_us(message, row)) is not None]
    watch.record("gate_to_hot", gated, now)
    watch.record("producer_to_hot", [since for since, _ in sent], now)
    watch.record("producer_to_gate", [now - (at - since) for since, at in sent], now)


def _ends(messages: Iterable[Message]) -> list[TopicPartition]:
    """Return the offset behind the last message of each partition.

    A commit without offsets would take what has been *delivered* when the client's own thread gets to it, so a row that was read in
    between would be committed before it is written, and a crash would lose it.
    """
    last = {(str(message.topic()), message.partition() or 0): message for message in messages}
    return [TopicPartition(topic, partition, (message.offset() or 0) + 1) for (topic, partition), message in last.items()]
