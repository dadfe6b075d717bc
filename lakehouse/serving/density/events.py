"""Rows of a live table as columns of numbers: when, how much, and which record each came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.serving.density.axis import Floats, Whole
from lakehouse.storage.hot import ORIGIN

Mask = NDArray[np.bool_]
Kind = Literal["moment", "number"]

PREFERRED = "delay"
"""The column to draw where there is one, as the Live page has it too; else the first number."""

_KINDS: dict[str, Kind] = {
    "timestamp with time zone": "moment",
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "real": "number",
    "double precision": "number",
}
_IDENTITY = ("_topic_id", "_partition", "_offset")


@dataclass(frozen=True)
class Columns:
    """The two columns that are drawn.

    Attributes:
        moment: When.
        value: How much.
    """

    moment: str
    value: str

    @property
    def all(self) -> list[str]:
        """All columns that are needed of a table."""
        return [*dict.fromkeys([self.moment, self.value, *_IDENTITY])]


@dataclass(frozen=True)
class Events:
    """Some events.

    Attributes:
        moments: Microseconds since 1970; NaN where there is none.
        values: The values; NaN where there is none.
        topics: The topic id of each source record.
        partitions: Its partition.
        offsets: Its offset.
    """

    moments: Floats
    values: Floats
    topics: NDArray[np.object_]
    partitions: Whole
    offsets: Whole

    def __len__(self) -> int:
        return len(self.offsets)

    def only(self, which: Mask) -> Events:
        """Return some of them."""
        return Events(self.moments[which], self.values[which], self.topics[which], self.partitions[which], self.offsets[which])

    def by_source(self) -> Iterator[tuple[tuple[str, int], Whole]]:
        """Yield each topic id and partition, and where its events are."""
        codes, topics = pd.factorize(self.topics)
        places = codes.astype(np.int64) * (1 << 31) + self.partitions
        for place in pd.unique(places):
            yield (str(topics[place >> 31]), int(place & ((1 << 31) - 1))), np.flatnonzero(places == place)


def kinds_of_types(types: Mapping[str, str]) -> dict[str, Kind]:
    """Return which columns are moments and which are numbers, by their types in PostgreSQL."""
    return {name: _KINDS[kind] for name, kind in types.items() if kind in _KINDS}


def kinds_of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Kind]:
    """Return the same by the values of rows as they are pushed; a column is what its first value is."""
    found: dict[str, Kind] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        value = next((row[name] for row in rows if row.get(name) is not None), None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = "number"
        elif isinstance(value, str) and not np.isnan(_moments([value])[0]):
            found[name] = "moment"
    return found


def choose(kinds: Mapping[str, Kind], sequence_by: str, keys: Sequence[str]) -> Columns | None:
    """Return what to draw of a table; ``None`` when it has no number.

    Args:
        kinds: Which columns are moments and which are numbers.
        sequence_by: The column that orders the table's states: the moment, if it is one; else the feed clock is.
        keys: Columns that identify things, and mean nothing as numbers.
    """
    own = [name for name, kind in kinds.items() if kind == "number" and name not in keys and name not in ORIGIN]
    if not own:
        return None
    moment = sequence_by if kinds.get(sequence_by) == "moment" else "_timestamp"
    return Columns(moment, PREFERRED if PREFERRED in own else own[0])


def of_rows(rows: Sequence[Mapping[str, Any]], columns: Columns) -> Events:
    """Return rows as they are pushed; what is no moment or no number is none."""
    return Events(
        _moments([row.get(columns.moment) for row in rows]),
        np.asarray(pd.to_numeric(pd.Series([row.get(columns.value) for row in rows], dtype=object), errors="coerce"), np.float64),
        np.array([row["_topic_id"] for row in rows], dtype=object),
        np.array([row["_partition"] for row in rows], dtype=np.int64),
        np.array([row["_offset"] for row in rows], dtype=np.int64),
    )


def of_batch(batch: Any, columns: Columns) -> Events:
    """Return rows of the hot store.

    Args:
        batch: Anything that Arrow reads as a record batch, with at least the columns of :attr:`Columns.all`.
        columns: What to draw.
    """
    batch = pa.record_batch(batch)
    moments = batch.column(columns.moment).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).cast(pa.float64())
    return Events(
        moments.to_numpy(zero_copy_only=False),
        batch.column(columns.value).cast(pa.float64()).to_numpy(zero_copy_only=False),
        batch.column("_topic_id").to_numpy(zero_copy_only=False),
        batch.column("_partition").cast(pa.int64()).to_numpy(zero_copy_only=False),
        batch.column("_offset").cast(pa.int64()).to_numpy(zero_copy_only=False),
    )


def _moments(texts: Sequence[Any]) -> Floats:
    """Return moments in ISO 8601 as microseconds since 1970."""
    texts = [text if isinstance(text, str) else None for text in texts]
    found = pd.to_datetime(pd.Series(texts, dtype=object), utc=True, errors="coerce", format="ISO8601")
    micros = found.to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(micros), np.nan, micros.astype(np.int64).astype(np.float64))
