"""Fills the live table, and goes on writing a thousand rows a second: ``python -m bench.query.ticks WORKSPACE``.

Each line on standard input asks for some keys and moments that there are.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from lakehouse.catalog import Catalog
from lakehouse.livetables import live_tables
from lakehouse.settings import Settings
from lakehouse.storage.hot import HotTable, declare
from lakehouse.workspace import Workspace

from ..lines import say

FEED = "ticks"
COLUMNS = {
    "sent_us": "bigint",
    "id": "text",
    "shard": "integer",
    "price": "double precision",
    "venue": "text",
    "account": "text",
    "at": "timestamptz",
}
KEYS = 10_000
BEFORE = 300_000
PER_SECOND = 1_000

_TICK = 0.1
_VENUES = ("north", "east", "south", "west")


def row(number: int, at: datetime) -> dict[str, Any]:
    """Return a row; the same for the same number, but for its time."""
    chance = random.Random(number)
    key = chance.randrange(KEYS)
    return {
        "sent_us": int(at.timestamp() * 1e6),
        "id": f"k{key}",
        "shard": key % 100,
        "price": round(chance.uniform(10, 500), 2),
        "venue": chance.choice(_VENUES),
        "account": f"DE{chance.randrange(10**10):010d}",
        "at": at.isoformat(),
        "_topic_id": "bench",
        "_partition": number % 2,
        "_offset": number,
        "_timestamp": at,
    }


def main(root: str) -> None:
    """Write until standard input ends."""
    workspace = Workspace.load(Path(root))
    dsn = Settings.load(workspace).require("postgres")
    over = threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            pass
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    declare(dsn, FEED, COLUMNS)
    with psycopg.connect(dsn, autocommit=True) as connection:
        table = HotTable(connection, live_tables(workspace, Catalog.load(workspace))[FEED], COLUMNS)
        table.prepare()
        began = datetime.now(UTC)
        for first in range(0, BEFORE, 10_000):
            rows = [row(n, began + timedelta(seconds=(n - BEFORE) / PER_SECOND)) for n in range(first, first + 10_000)]
            table.land(rows)
        connection.execute(f"ANALYZE hot.{FEED}")
        say("filled", rows=BEFORE)
        began = datetime.now(UTC)
        done = 0
        while not over.is_set():
            now = time.monotonic()
            due = int((datetime.now(UTC) - began).total_seconds() * PER_SECOND)
            table.land([row(BEFORE + n, began + timedelta(seconds=n / PER_SECOND)) for n in range(done, due)])
            done = due
            time.sleep(max(0.0, now + _TICK - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
