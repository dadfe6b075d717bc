"""Follows one live topic in a thread of its own, and hands what comes to the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from weakref import WeakValueDictionary

import valkey
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from lakehouse.clients import librdkafka, valkey_client
from lakehouse.errors import SourceError
from lakehouse.lanes.trouble import pause
from lakehouse.livetables import LiveSpec, WindowSpec
from lakehouse.serving.push.filters import Filter
from lakehouse.serving.push.pulse import Pulse
from lakehouse.serving.push.ring import Ring
from lakehouse.serving.push.shown import Shown
from lakehouse.serving.push.stretch import Arrival, Row, Wish
from lakehouse.settings import Settings
from lakehouse.sources.kafka import Extent, extents
from lakehouse.sources.live import drain, read_row, sent_us
from lakehouse.storage.latest import Latest
from lakehouse.telemetry.latency import Hops, Stopwatch, latencies

log = logging.getLogger(__name__)

_MOST = 2_000  # rows of one batch
_TICK_SECONDS = 1.0
_LOOK_SECONDS = 2.0


class Feed:
    """One live topic: its recent rows, and pulses that wake subscribers when there are more.

    Attributes:
        spec: What is declared of it.
        ring: Its recent rows; ``None`` until they were read, and another one when the topic cannot be read on.
        watch: Counts how old rows are when they are sent.
        hops: How old rows were at each hop, over the last minute.
    """

    def __init__(self, settings: Settings, spec: LiveSpec) -> None:
        """Plan; nothing is connected yet."""
        self.spec = spec
        self.ring: Ring | None = None
        self._settings = settings
        self._valkey = valkey_client(settings, socket_timeout=5)
        self._latest = Latest(self._valkey, spec)
        self.watch = Stopwatch(self._valkey, spec.name, "push")
        self.hops: Hops = {}
        self._read_once = asyncio.Event()
        self._pulses: WeakValueDictionary[int, Pulse] = WeakValueDictionary()
        self._wishes: WeakValueDictionary[tuple[Filter, tuple[str, ...], bool, Shown | None], Wish] = WeakValueDictionary()
        self._stop = threading.Event()
        self._seen: dict[tuple[int, str, int], int] = {}
        # Rows do not wait for what Valkey says of latency: it may be busy with a batch of the hot sink.
        self._threads = [
            threading.Thread(target=work, name=f"push-{spec.name}-{what}", daemon=True)
            for what, work in {"rows": self._follow, "latency": self._look}.items()
        ]

    def start(self) -> None:
        """Begin to follow, in the event loop that the pulses wake."""
        self._loop = asyncio.get_running_loop()
        self._tick()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def pulse(self, milliseconds: int) -> Pulse:
        """Return what wakes subscribers when there are more rows, and once a second, but not oftener than they want.

        Args:
            milliseconds: Shortest time between two times; who wants the same is woken together.
        """
        return self._pulses.setdefault(milliseconds, Pulse(milliseconds / 1000))

    def wish(self, filter: Filter, columns: tuple[str, ...], every: bool, shown: Shown | None = None) -> Wish:
        """Return the one wish of all who ask alike, which is found again without comparing lists of values."""
        return self._wishes.setdefault((filter, columns, every, shown), Wish(filter, columns, every, shown))

    async def ready(self) -> Ring:
        """Wait until the recent rows are read."""
        await self._read_once.wait()
        assert self.ring is not None
        return self.ring

    def latest(self, ring: Ring, wish: Wish) -> list[bytes]:
        """Return the latest state of each key as it is sent: Valkey's, and what came since.

        Raises:
            valkey.ValkeyError: Valkey is away.
        """
        states: dict[str, tuple[str, Row]] = {}
        for row in self._latest.all():
            states[self._latest.key(row)] = (self._latest.sequence(row), row)
        for arrival in ring.arrivals():
            sequence = self._latest.sequence(arrival.row)
            if arrival.key not in states or states[arrival.key][0] < sequence:
                states[arrival.key] = (sequence, arrival.row)
        shown = wish.shown or (lambda row: row)
        rows = (shown(row) for _, row in states.values())
        return [wish.write(row) for row in rows if row is not None and wish.filter.matches(row)]

    def _follow(self) -> None:
        tries = 0
        while not self._stop.is_set():
            try:
                held = extents(self._settings, [self.spec.live_topic]).get(self.spec.live_topic)
                if held is None:  # its lane never ran
                    self._stop.wait(1)
                    continue
                self._read(held)
            except (SourceError, KafkaException) as error:
                tries += 1
                log.info("%s cannot be read", self.spec.live_topic, exc_info=error)
                self._stop.wait(min(2.0, pause(tries)))
            else:
                tries = 0

    def _read(self, held: Extent) -> None:
        """Read until the topic is another one, or the broker says no."""
        ring = self.ring
        if ring is None or ring.topic_id != held.topic_id or not _holds(held, ring.ends):
            self._seen.clear()
            rows = self._settings.push.ring_rows
            begins = {x: max(held.begin[x], end - rows // len(held.end)) for x, end in held.end.items()}
            ring = Ring(held.topic_id, rows, begins)
        consumer = Consumer(
            {
                **librdkafka(self._settings),
                "group.id": "tidemill-push",  # asked for by the client; nothing is committed, and partitions are its own
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 5,
                "fetch.min.bytes": 8192,
            },
            logger=log,
        )
        with closing(consumer):
            ends = ring.ends
            consumer.assign([TopicPartition(self.spec.live_topic, x, offset) for x, offset in ends.items()])
            while not self._stop.is_set():
                messages = drain(consumer, _MOST)
                for message in messages:
                    if (error := message.error()) and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                if messages:
                    ends |= {message.partition() or 0: (message.offset() or 0) + 1 for message in messages}
                    self._loop.call_soon_threadsafe(ring.add, self._arrivals(messages), dict(ends))
                whole = all(ends.get(x, 0) >= end for x, end in held.end.items())
                if whole and (messages or self.ring is not ring):
                    self._loop.call_soon_threadsafe(self._renew, ring)

    def _look(self) -> None:
        """Every two seconds, show how old rows were here, and see how old they were elsewhere."""
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.watch.publish()
                self.hops = latencies(self._valkey, self.spec.name)
            except valkey.ValkeyError as error:
                log.info("How old rows are is not known: Valkey does not answer", exc_info=error)
                self.hops = {}

    def _arrivals(self, messages: Sequence[Message]) -> list[Arrival]:
        """Return the rows; one that the lane wrote again, after a crash, is left out."""
        arrivals = []
        for message in messages:
            value = message.value()
            row = read_row(value)
            if row is None:
                continue
            source = (message.partition() or 0, row["_topic_id"], row["_partition"])
            if not isinstance(self.spec, WindowSpec):  # a window that comes again only replaces itself
                if row["_offset"] <= self._seen.get(source, -1):
                    continue
                self._seen[source] = row["_offset"]
            key, gated_ms = self._latest.key(row), message.timestamp()[1]
            arrivals.append(Arrival(source[0], message.offset() or 0, gated_ms, sent_us(message, row), row, value or b"", key))
        return arrivals

    def _renew(self, ring: Ring) -> None:
        self.ring = ring
        self._read_once.set()
        for pulse in list(self._pulses.values()):
            pulse.ring()

    def _tick(self) -> None:
        """Wake subscribers although nothing came: they look whether it is time for a beat."""
        for pulse in list(self._pulses.values()):
            pulse.ring()
        if not self._stop.is_set():
            self._loop.call_later(_TICK_SECONDS, self._tick)


def _holds(held: Extent, offsets: Mapping[int, int]) -> bool:
    """Say whether a topic can be read on from these offsets: none of its rows expired meanwhile, and no partition is new."""
    return held.end.keys() == offsets.keys() and all(held.begin[x] <= at <= held.end[x] for x, at in offsets.items())
