"""Rows of live topics, as the hot sink and the push service read them, and when they were sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import Consumer, Message

SENT_AT = "tidemill-sent-at"
"""Header of a record: when its producer sent it, microseconds since 1970, as decimal digits."""

_WAIT_SECONDS = 0.2
_HOUR_US = 3_600_000_000


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


def sent_us(message: Message, row: Mapping[str, Any]) -> int | None:
    """Return when the producer sent the record of a row, microseconds since 1970; ``None`` when nobody knows.

    It may say so in a header; where it does not, the record's timestamp counts if it is of the last hour, which the feed clock of a
    replay is not.

    Args:
        message: The row's message in the live topic, with the headers of its record.
        row: The row.
    """
    for header in message.headers() or ():
        if header[0] == SENT_AT and isinstance(value := header[1], bytes) and value.isdigit() and len(value) < 18:
            return int(value)
    stamp, gated = round(row["_timestamp"].timestamp() * 1e6), message.timestamp()[1] * 1000
    return stamp if abs(gated - stamp) < _HOUR_US else None
