"""Follows one live topic in a thread, and hands what comes to the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing

import valkey
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from lakehouse.errors import SourceError
from lakehouse.lanes.trouble import pause
from lakehouse.livetables import LiveSpec, WindowSpec
from lakehouse.serving.push.ring import Arrival, Ring, Row, Wish
from lakehouse.settings import Settings
from lakehouse.sources.kafka import Extent, extents
from lakehouse.sources.live import drain, read_row
from lakehouse.storage.latest import Latest

log = logging.getLogger(__name__)

_MOST = 2_000  # rows of one batch


class Feed:
    """One live topic: its recent rows, and a bell that rings when there are more.

    Attributes:
        spec: What is declared of it.
        ring: Its recent rows; ``None`` until they were read, and another one when the topic cannot be read on.
    """

    def __init__(self, settings: Settings, spec: LiveSpec) -> None:
        """Plan; nothing is connected yet."""
        self.spec = spec
        self.ring: Ring | None = None
        self._settings = settings
        self._latest = Latest(valkey.Valkey.from_url(settings.require("valkey"), socket_timeout=5), spec)
        self._bell = asyncio.Event()
        self._stop = threading.Event()
        self._seen: dict[tuple[int, str, int], int] = {}
        self._thread = threading.Thread(target=self._follow, name=f"push-{spec.name}", daemon=True)

    def start(self) -> None:
        """Begin to follow; called in the event loop that :meth:`more` is awaited in."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    async def more(self, ring: Ring, number: int, seconds: float) -> bool:
        """Wait until a batch of this number is there, or there is another ring; false when none came in time."""
        try:
            async with asyncio.timeout(seconds):
                while self.ring is ring and ring.head <= number:
                    await self._bell.wait()
        except TimeoutError:
            return False
        return True

    async def ready(self) -> Ring:
        """Wait until the recent rows are read."""
        while self.ring is None:
            await self._bell.wait()
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
        return [wish.write(row) for _, row in states.values() if wish.filter.matches(row)]

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
                "bootstrap.servers": self._settings.require("kafka"),
                **self._settings.kafka.options,
                "group.id": "tidemill-push",  # asked for by the client; nothing is committed, and partitions are its own
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 5,
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
                    self._loop.call_soon_threadsafe(self._ring_bell, ring)

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
            key = self._latest.key(row)
            arrivals.append(Arrival(source[0], message.offset() or 0, message.timestamp()[1], row, value or b"", key))
        return arrivals

    def _ring_bell(self, ring: Ring) -> None:
        self.ring = ring
        self._bell.set()
        self._bell = asyncio.Event()


def _holds(held: Extent, offsets: Mapping[int, int]) -> bool:
    """Say whether a topic can be read on from these offsets: none of its rows expired meanwhile, and no partition is new."""
    return held.end.keys() == offsets.keys() and all(held.begin[x] <= at <= held.end[x] for x, at in offsets.items())
