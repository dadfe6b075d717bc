"""The load, a process of its own: sends each event when it is due, or as soon after as it can; it never waits for an answer.

``python -m bench.latency.load SERVERS TOPIC PARTITIONS``, then one line of JSON on standard input: the schedule.
"""

from __future__ import annotations

import gc
import sys
import time

import numpy as np
from confluent_kafka import Producer

from ..lines import hear, say
from .schedule import Schedule


def main(servers: str, topic: str, partitions: str) -> None:
    """Send one load."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 5,  # its client's default, named because it is part of every age
            "max.in.flight": 1,  # what is due while a request is on its way goes with the next: the broker is not to be measured
            "acks": 1,
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    producer.list_topics(topic, timeout=10)
    gc.disable()
    say("ready")
    schedule = Schedule(**hear())
    late: list[int] = []
    number, spread = 0, int(partitions)
    for due, payloads in schedule.ticks():
        if (wait := due - time.time_ns() // 1_000) > 0:
            time.sleep(wait / 1e6)
        late.append(time.time_ns() // 1_000 - due)
        for value in payloads:
            _send(producer, topic, value, number % spread)
            number += 1
        producer.poll(0)
    left = producer.flush(30)
    found = np.array(late) / 1_000
    say(
        "done",
        sent=number - left,
        late_p99_ms=round(float(np.percentile(found, 99)), 3),
        late_most_ms=round(float(found.max()), 3),
    )


def _send(producer: Producer, topic: str, value: bytes, partition: int) -> None:
    while True:
        try:
            return producer.produce(topic, value, partition=partition)
        except BufferError:  # the broker is behind: these events are late, and count as such
            producer.poll(0.001)


if __name__ == "__main__":
    main(*sys.argv[1:])
