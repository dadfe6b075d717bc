"""Windows of a live table: one stateful query over its good rows, all spans in one aggregation, in update mode.

Each row is repeated once a span, so one operator keeps the state of all. What a window says grows with the records that it holds:
``_offset`` is their number, and ``_topic_id`` names the counting (the source topic and what is declared), so that of two rows for one
window the later one is known, whatever was written twice. A source record is counted once: the checkpoint says which ones are in
the state.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.catalog import TableSpec
from lakehouse.errors import DeclarationError
from lakehouse.lanes.records import MESSAGE_JSON
from lakehouse.livetables import WindowSpec
from lakehouse.quality.safety import quietly
from lakehouse.windows import FRAME

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

CONFIGURATION = {
    # Groups of the last hours, not rows: one state store, whose checkpoint is three small files a batch.
    "spark.sql.shuffle.partitions": "1",
    # An idle query says each second that it has looked, which is how fresh its windows are.
    "spark.sql.streaming.noDataProgressEventInterval": "1000",
    "spark.sql.streaming.numRecentProgressUpdates": "20",
}
"""Options of the driver; the Real-time queries beside the windows have no state and no shuffle."""

_MICROSECOND = 1_000_000
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Counted:
    """What is counted.

    Attributes:
        rows: The windows; of a stream, those that change: ``span``, ``window_start``, ``window_end``, the groups, the measures,
            ``last_event``, ``computed_at``, and the columns of :data:`~lakehouse.storage.hot.ORIGIN`, of which ``_timestamp`` is
            the feed clock that the window has come to.
        counting: Names the counting: id of the source topic, and a digest of what is declared.
    """

    rows: DataFrame
    counting: str


def windows_of(spec: WindowSpec, rows: DataFrame, ingest: TableSpec, refusal: Column, topic_id: str) -> Counted:
    """Count rows by windows.

    Args:
        spec: The windows.
        rows: What :meth:`~lakehouse.lanes.fast.FastLane.rows` gave.
        ingest: The feed's ingest table: its event time, and how late and how early that may be.
        refusal: Ends the query, for a record that breaks a ``fail`` rule.
        topic_id: Of the source topic.

    Raises:
        DeclarationError: A column is not there, or a measure is none.
    """
    windows, name = spec.windows, spec.table.full_name
    assert windows is not None
    assert ingest.event_time is not None
    if lacking := [x for x in (*windows.by, ingest.event_time) if x not in rows.columns]:
        raise DeclarationError(f"{name} does not select {', '.join(lacking)}, which its windows need; it has: {_own(rows)}.")
    if taken := [x for x in FRAME if x in rows.columns]:
        raise DeclarationError(f"{name} selects {', '.join(taken)}, which its windows have too; name it otherwise.")
    record, moment = F.col("_record"), F.unix_micros(F.col(f"`{ingest.event_time}`"))
    lengths = windows.lengths(name)
    frames = []
    for span, length in lengths.items():
        micros = round(length.total_seconds()) * _MICROSECOND
        start = moment - F.pmod(moment, F.lit(micros))
        edges = (F.timestamp_micros(start), F.timestamp_micros(start + F.lit(micros)))
        frames.append(F.struct(F.lit(span).alias(FRAME[0]), edges[0].alias(FRAME[1]), edges[1].alias(FRAME[2])))
    longest = round(max(lengths.values()).total_seconds())
    good = F.when(record["failures"].isNotNull(), refusal.cast("boolean")).otherwise(record["reasons"].isNull())
    # Against the time of day, as in the hot store: one producer whose clock is years ahead must not end all windows.
    possible = record["timestamp"] <= F.current_timestamp() + F.expr(f"INTERVAL {ingest.future}")
    # A column that is worked out just there: a filter that Spark moves below the gate has the gate written out for each of its
    # columns, and again for each of those, and planning then takes minutes.
    barrier = F.rand() >= 0
    try:
        with quietly():
            # The watermark lets state go, and judges nothing: what the gate lets through is never behind it, as long as the clocks
            # of partitions differ by less than the longest span (once for the window's own length, once for that).
            frame = (
                rows.select("*", (good & possible & F.expr(windows.where or "true") & barrier).alias("_counts"))
                .where("_counts")
                .select("*", F.inline(F.array(*frames)))
                .withWatermark(FRAME[1], f"{ingest.watermark} {ingest.future} {2 * longest} seconds")
                .groupBy(*FRAME, *[F.col(f"`{column}`") for column in windows.by])
                .agg(
                    *[F.expr(text).alias(measure) for measure, text in windows.measures.items()],
                    F.max(f"`{ingest.event_time}`").alias("last_event"),
                    F.count("*").alias("_offset"),
                    F.max(record["timestamp"]).alias("_timestamp"),
                )
            )
    except Exception as error:
        raise DeclarationError(f"{name}: its windows fail: {str(error).splitlines()[0]}") from error
    counting = f"{topic_id}/{_digest(spec, frame)}"
    own = [F.col(f"`{column}`") for column in frame.columns if not column.startswith("_")]
    rows = frame.select(
        *own,
        F.current_timestamp().alias("computed_at"),
        F.lit(counting).alias("_topic_id"),
        F.lit(0).alias("_partition"),
        "_offset",
        "_timestamp",
    )
    return Counted(rows, counting)


def _digest(spec: WindowSpec, frame: DataFrame) -> str:
    """Name what is declared: a state that counted something else cannot be gone on with."""
    assert spec.windows is not None
    declared = (*spec.windows.spans, *spec.windows.measures.values(), spec.windows.where, frame.schema.simpleString())
    return hashlib.sha256(repr(declared).encode()).hexdigest()[:12]


def _own(rows: DataFrame) -> str:
    return ", ".join(column for column in rows.columns if column != "_record")


def window_messages(spec: WindowSpec, rows: DataFrame) -> DataFrame:
    """Return what the query writes for windows that changed: one message each, whose key is the window."""
    names = (*FRAME[:2], *spec.keys[1:])
    return rows.select(
        F.lit(spec.live_topic).alias("topic"),
        F.to_json(F.array(*[F.col(f"`{name}`").cast("string") for name in names])).alias("key"),
        F.to_json(F.struct("*"), MESSAGE_JSON).alias("value"),
    )


@dataclass(frozen=True)
class Progress:
    """How far a windows query has come.

    Attributes:
        as_of: When it last looked for records, ISO 8601.
        dropped: Rows that its watermark dropped since it began, when there are more of them than last time; else 0.
    """

    as_of: str
    dropped: int


class Freshness:
    """Follows a windows query, so that what it says is read once."""

    def __init__(self) -> None:
        self._looked = 0.0
        self._batch = -1
        self._dropped = 0

    def look(self, query: StreamingQuery) -> Progress | None:
        """Return how far a query has come; ``None`` before its first batch, and when the last look was just now."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return None
        self._looked = time.monotonic()
        recent = query.recentProgress
        if not recent:
            return None
        new = [batch for batch in recent if batch["batchId"] > self._batch]
        dropped = sum(int(operator["numRowsDroppedByWatermark"]) for batch in new for operator in batch["stateOperators"])
        self._batch = max(self._batch, int(recent[-1]["batchId"]))
        self._dropped += dropped
        return Progress(str(recent[-1]["timestamp"]), self._dropped if dropped else 0)
