"""Who looks when a row arrives, each in a process of its own: a consumer of a topic, or a WebSocket client.

``python -m bench.latency.watch topic SERVERS TOPIC`` or ``… socket WORKSPACE FEED``, then a line of JSON: the load's schedule,
how many rows to expect, how long to wait for the last, and the file for what was seen.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..lines import hear, say
from .schedule import Schedule

_MARK = b'"sent_us":'


def main(kind: str, *where: str) -> None:
    """Look at one load; ends when all has been seen, or at the deadline."""
    look = _Look()
    rows = (_topic if kind == "topic" else _socket)(look, *where)
    gc.disable()
    threading.Thread(target=look.follow, args=[rows], daemon=True).start()
    task = hear()
    schedule = Schedule(**task["schedule"])
    look.wanted, look.begin = task["expected"], schedule.start_us
    look.finished.wait(max(0.0, schedule.stop_us / 1e6 + task["patience"] - time.time()))
    stopped = time.time_ns() // 1_000
    np.save(Path(task["file"]), np.array(look.seen[: len(look.seen) // 2 * 2], dtype=np.int64).reshape(-1, 2))
    say("done", seen=len(look.seen) // 2, coalesced=look.coalesced, stopped_us=stopped)


class _Look:
    """What was seen: when each row was meant to be sent, and when it came, microseconds, by turns."""

    def __init__(self) -> None:
        self.seen = array("q")
        self.coalesced = 0
        self.begin, self.wanted = 0, sys.maxsize
        self.finished = threading.Event()

    def follow(self, rows: Iterator[list[int]]) -> None:
        """Take in what comes; an error ends the process, so that nobody waits for it."""
        try:
            self._follow(rows)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _follow(self, rows: Iterator[list[int]]) -> None:
        early: deque[tuple[int, int]] = deque(maxlen=200_000)
        for moments in rows:
            now, begin = time.time_ns() // 1_000, self.begin
            early.extend((sent, now) for sent in moments)
            if not begin:  # on a busy machine it is told when the load has begun
                continue
            while early:
                sent, came = early.popleft()
                if sent >= begin:
                    self.seen.append(sent)
                    self.seen.append(came)
            if len(self.seen) >= 2 * self.wanted:
                self.finished.set()


def _topic(look: _Look, servers: str, topic: str) -> Iterator[list[int]]:
    """Yield the moments that the messages of a topic carry, as they come; from now on."""
    from confluent_kafka import Consumer, TopicPartition

    from lakehouse.sources.live import drain

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench", "enable.auto.commit": False, "fetch.wait.max.ms": 20})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ends = [TopicPartition(topic, x, consumer.get_watermark_offsets(TopicPartition(topic, x), timeout=10)[1]) for x in partitions]
    consumer.assign(ends)
    say("ready")
    while True:
        messages = drain(consumer, 5_000)
        yield [sent for message in messages if (sent := moment(message.value() or b""))]


def _socket(look: _Look, root: str, feed: str) -> Iterator[list[int]]:
    """Yield the moments that the rows of a live table carry, as the push service sends them; from now on."""
    from lakehouse.serving.client import subscribe
    from lakehouse.serving.push.endpoint import Endpoint
    from lakehouse.workspace import Workspace

    endpoint = Endpoint.of(Workspace.load(Path(root)))
    changes = subscribe(endpoint, feed, columns=["sent_us"], frame_ms=0)
    say("ready")
    for change in changes:
        look.coalesced += change.coalesced
        yield [row["sent_us"] for row in change.rows]


def moment(value: bytes) -> int:
    """Return what a message says of ``sent_us``; 0 when it does not say."""
    at = value.find(_MARK)
    if at < 0:
        return 0
    end = at + len(_MARK)
    return int(value[end : end + 16])  # microseconds have 16 digits until the year 2286


if __name__ == "__main__":
    main(*sys.argv[1:])
