"""The rows of the benchmark, and who wants which of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import orjson

FEED = "ticks"
PER_SECOND = 1_000
PARTITIONS = 2
KEYS = 1_000
COLUMNS = {
    "sent_us": "bigint",
    "id": "text",
    "shard": "integer",
    "price": "double precision",
    "venue": "text",
    "at": "timestamptz",
}
SHOWN = ("sent_us", "id", "shard", "price", "venue")
"""The columns that clients ask for. The first one is the time at which the row was due, microseconds since 1970."""

SHARES = (1, 10, 50, 100)
"""Percent of the rows that a client's filter matches; as many clients ask for each."""

_SHARDS = 100
_VENUES = ("north", "east", "south", "west")


def row(number: int, due_us: int) -> dict[str, Any]:
    """Return a row; the same for the same number, but for its time."""
    chance = random.Random(number)
    return {
        "sent_us": due_us,
        "id": f"k{chance.randrange(KEYS)}",
        "shard": chance.randrange(_SHARDS),
        "price": round(chance.uniform(10, 500), 2),
        "venue": chance.choice(_VENUES),
        "at": datetime.fromtimestamp(due_us / 1e6, UTC).isoformat(),
    }


def live_row(number: int, due_us: int) -> bytes:
    """Return a row as the fast lane writes it to the live topic."""
    wanted = row(number, due_us)
    origin = {"_topic_id": "bench", "_partition": number % PARTITIONS, "_offset": number, "_timestamp": wanted["at"]}
    return orjson.dumps(wanted | origin)


def shards(client: int) -> tuple[int, int]:
    """Return the first shard that a client wants, and the one after the last."""
    chance = random.Random(client)
    share = chance.choice(SHARES)
    first = chance.randrange(0, _SHARDS - share + 1)
    return first, first + share


def filter_of(client: int) -> dict[str, Any]:
    """Return what a client asks the push service for: one value, a list, a range, or everything."""
    first, end = shards(client)
    if end - first == _SHARDS:
        return {}
    if end - first == 1:
        return {"shard": first}
    return {"shard": [*range(first, end)]} if end - first == 10 else {"shard": {"ge": first, "lt": end}}
