"""Writes a thousand rows a second, whatever else happens, each with the time at which it was due."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from confluent_kafka import Producer

from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from ..lines import say
from .rows import COLUMNS, FEED, PARTITIONS, PER_SECOND, live_row, row

Write = Callable[[Sequence[tuple[int, int]]], None]
"""Takes rows' numbers and the times at which they are due, microseconds since 1970."""

TABLE = "bench_ticks"
_TICK = 0.005
_BEFORE = 60_000  # rows that are there when the clients come: more than the push service keeps


@contextmanager
def _kafka(settings: Settings) -> Iterator[Write]:
    producer = Producer({"bootstrap.servers": settings.require("kafka"), "linger.ms": 0})

    def write(due: Sequence[tuple[int, int]]) -> None:
        for number, due_us in due:
            producer.produce(f"{FEED}.live", live_row(number, due_us), partition=number % PARTITIONS)
        producer.poll(0)

    yield write
    producer.flush(10)


@contextmanager
def _postgres(settings: Settings) -> Iterator[Write]:
    """Write to a table that pages poll: what one would write without a fast lane, and faster than it."""
    with psycopg.connect(settings.require("postgres"), autocommit=True) as connection, connection.cursor() as cursor:

        def write(due: Sequence[tuple[int, int]]) -> None:
            if due:
                with cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
                    for number, due_us in due:
                        copy.write_row([number, *row(number, due_us).values()])

        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        cursor.execute(f"CREATE TABLE {TABLE} (n bigint PRIMARY KEY, {columns})")
        yield write


def main(root: str, store: str) -> None:
    """Write until standard input ends; each line there asks how far it is."""
    settings = Settings.load(Workspace.load(Path(root)))
    asked, over = threading.Event(), threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            asked.set()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    with {"kafka": _kafka, "postgres": _postgres}[store](settings) as write:
        began = time.time()
        for start in range(0, _BEFORE, 2_000):
            write([(n, int((began + (n - _BEFORE) / PER_SECOND) * 1e6)) for n in range(start, start + 2_000)])
        began = time.time()
        done, latest = 0, 0.0
        say("writing")
        while not over.is_set():
            now = time.time()
            due = int((now - began) * PER_SECOND)
            write([(_BEFORE + n, int((began + n / PER_SECOND) * 1e6)) for n in range(done, due)])
            latest = max(latest, time.time() - (began + done / PER_SECOND)) if due > done else latest
            done = due
            if asked.is_set():
                asked.clear()
                say("written", rows=done, late_ms=latest * 1e3, at=time.time())
                latest = 0.0
            time.sleep(max(0.0, now + _TICK - time.time()))


if __name__ == "__main__":
    main(*sys.argv[1:])
