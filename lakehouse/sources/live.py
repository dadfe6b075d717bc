"""Rows of live topics, as the hot sink and the push service read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import Consumer, Message

_WAIT_SECONDS = 0.2


def drain(consumer: Consumer, most: int) -> list[Message]:
    """Return what is there, errors too, at most so many; waits, for a moment, only when nothing is."""
    first = consumer.poll(_WAIT_SECONDS)
    return [] if first is None else [first, *consumer.consume(most - 1, timeout=0)]


def read_row(value: bytes | None) -> dict[str, Any] | None:
    """Return a row of a live topic, or ``None`` for what the fast lane did not write."""
    try:
        row: dict[str, Any] = orjson.loads(value or b"")
        row["_timestamp"] = datetime.fromisoformat(row["_timestamp"])
        named = isinstance(row["_topic_id"], str) and "\0" not in row["_topic_id"] and row["_timestamp"].tzinfo is not None
        return row if named and 0 <= row["_partition"] < 1 << 31 and 0 <= row["_offset"] < 1 << 63 else None
    except (ValueError, KeyError, TypeError):
        return None
