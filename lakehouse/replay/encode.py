"""What the replayers share: moments of publication, and columns as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd


def publication_ms(event_time: pd.Series[Any], identity: pd.Series[Any], shortest: int, longest: int) -> pd.Series[Any]:
    """Return when each event is published: a little after it happened, the same in each replay.

    Args:
        event_time: When it happened, naive UTC.
        identity: What tells the events apart; the wait is taken from its hash, which is stable across machines.
        shortest: Shortest wait in milliseconds.
        longest: First wait in milliseconds that is too long.

    Returns:
        Milliseconds since 1970, UTC.
    """
    hashes = pd.util.hash_array(identity.to_numpy(), categorize=False)
    wait = (hashes % np.uint64(longest - shortest)).astype("int64") + shortest
    return event_time.astype("datetime64[ms]").astype("int64") + wait


def published_between(table: pd.DataFrame, start: datetime | None, end: datetime | None) -> pd.DataFrame:
    """Return the rows whose ``published_ms`` lies in ``[start, end)``; a moment without a zone is UTC."""
    if start is not None:
        table = table[table["published_ms"] >= milliseconds(start)]
    if end is not None:
        table = table[table["published_ms"] < milliseconds(end)]
    return table


def instants(column: pd.Series[Any]) -> list[str]:
    """Return naive UTC moments as ISO 8601 with ``Z``, to the second."""
    result: list[str] = np.datetime_as_string(column.to_numpy(), unit="s", timezone="UTC").tolist()
    return result


def encode(columns: Mapping[str, list[Any]]) -> Iterator[bytes]:
    """Yield one JSON object a row; a value that is missing is left out."""
    names = tuple(columns)
    for values in zip(*columns.values(), strict=True):
        yield orjson.dumps({name: value for name, value in zip(names, values, strict=True) if value is not None})


def minutes(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return whole minutes as spans of time; missing stays missing."""
    # pandas' own conversion of floats computes with uninitialized memory where one is missing, and sometimes warns of it.
    return pd.to_timedelta(column.fillna(0).astype("int64"), unit="min").where(column.notna())


def integers(column: pd.Series[Any]) -> list[int | None]:
    """Return whole numbers that pandas holds as floats, because some are missing."""
    return [None if gone else int(value) for value, gone in zip(column.tolist(), column.isna(), strict=True)]


def optional(column: pd.Series[Any]) -> list[Any]:
    """Return the values, ``None`` for those that are missing."""
    return [None if gone else value for value, gone in zip(column.tolist(), column.isna(), strict=True)]


def milliseconds(moment: datetime) -> float:
    """Return milliseconds since 1970; a moment without a zone is UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
