"""What tests need: ours, and those of a workspace's own tables.

def test_delay(spark):
    events = frame(spark, "flight_id STRING, delay INT", [("a", 5)])
    assert_same_rows(delays.function(events), frame(spark, "flight_id STRING, late BOOLEAN", [("a", False)]))
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from lakehouse.catalog import Catalog
from lakehouse.deadletter.envelope import RECORD
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql.streaming.readwriter import DataStreamWriter

SHOWN = 5
"""How many differing rows a failed comparison prints on each side."""


def frame(spark: SparkSession, ddl: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]] = ()) -> DataFrame:
    """Build a small DataFrame.

    Args:
        spark: The session.
        ddl: The columns, as in SQL: ``"flight_id STRING, at TIMESTAMP"``.
        rows: Tuples in the columns' order, or mappings that may leave columns out (null). Moments may be ISO 8601 text with
            a zone, or datetimes; a datetime without a zone is UTC.
    """
    schema = StructType.fromDDL(ddl)
    assert isinstance(schema, StructType)
    moments = [x.dataType.typeName() == "timestamp" for x in schema.fields]
    data = [[row.get(name) for name in schema.names] if isinstance(row, Mapping) else row for row in rows]
    values: Any = [[_moment(x) if is_moment else x for x, is_moment in zip(row, moments, strict=True)] for row in data]
    return spark.createDataFrame(values, schema=schema)


def rows_of(table: DataFrame | pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a Spark or pandas table as plain values; missing is ``None``, a moment has its zone (UTC)."""
    return [{name: _plain(value) for name, value in row.items()} for row in _arrow(table).to_pylist()]


def assert_same_rows(actual: DataFrame | pd.DataFrame, expected: DataFrame | pd.DataFrame) -> None:
    """Fail unless both tables have the same columns and, counted, the same rows, in any order; numbers must be equal exactly.

    Raises:
        AssertionError: They differ; the message shows some rows that just one of them has.
    """
    names = list(expected.columns)
    assert set(actual.columns) == set(names), f"columns differ: {sorted(actual.columns)} and {sorted(names)}"
    left, right = (Counter(zip(*map(_hashable, _arrow(x[names]).columns), strict=True)) for x in (actual, expected))
    extra, absent = left - right, right - left
    assert not extra and not absent, (
        f"{extra.total()} rows are not expected, {absent.total()} are missing, of {right.total()} ({', '.join(names)})\n"
        + "\n".join(
            [f"  not expected: {x}" for x in list(extra)[:SHOWN]] + [f"  missing:      {x}" for x in list(absent)[:SHOWN]]
        )
    )


def verdicts(
    spark: SparkSession,
    workspace: Workspace,
    feed: str,
    values: Iterable[bytes | Mapping[str, Any] | None],
    *,
    at: datetime,
) -> list[dict[str, Any]]:
    """Put records through a feed's parser, function, suite and clock, as the lane does.

    Args:
        spark: The session.
        workspace: Where the feed is declared.
        feed: Its name.
        values: What the records hold: bytes, or a mapping that is written as JSON, or ``None`` for a tombstone.
        at: The records' Kafka timestamp, by which late and future are judged; UTC when it has no zone.

    Returns:
        For each record, in order, the table's own columns, ``_reasons`` (why it is a dead letter, or ``None``) and ``_failures``
        (the ``fail`` rules that it breaks, or ``None``).
    """
    from lakehouse.lanes.judge import Judge
    from lakehouse.quality import load

    spec = Catalog.load(workspace).ingest(feed)
    judge = Judge.compile(spark, spec, load(workspace, spec.suite) if spec.suite else None)
    records = [
        {
            **{"topic": feed, "topic_id": "test", "partition": 0, "offset": offset, "timestamp": _moment(at)},
            "value": json.dumps(value).encode() if isinstance(value, Mapping) else value,
        }
        for offset, value in enumerate(values)
    ]
    rows = [[record.get(name) for name in RECORD.names] for record in records]
    judged = judge.judge(spark.createDataFrame(rows, schema=RECORD)).localCheckpoint()
    judged = judged.where("NOT _suspect").union(judge.examine(judged.where("_suspect")))
    return rows_of(judged.orderBy("_offset").select(*judge.schema.names, "_reasons", "_failures"))


@dataclass
class MemorySource:
    """A stream whose records a test adds one batch at a time.

    Attributes:
        spark: The session.
        ddl: The columns, as in SQL.
    """

    spark: SparkSession
    ddl: str
    _folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)
    _batches: int = 0

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add one batch: values as JSON would hold them."""
        self._batches += 1
        file = Path(self._folder.name) / f"{self._batches:09}.json"
        file.with_suffix(".tmp").write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
        file.with_suffix(".tmp").rename(file)

    def stream(self) -> DataFrame:
        """Return the records as a streaming DataFrame, one micro-batch for each :meth:`add`."""
        reader = self.spark.readStream.schema(self.ddl).option("maxFilesPerTrigger", 1).option("pathGlobFilter", "*.json")
        return reader.json(self._folder.name)

    def close(self) -> None:
        """Delete the records."""
        self._folder.cleanup()


@dataclass
class ListSink:
    """A sink that keeps what comes, batch by batch.

    Attributes:
        batches: The rows of each micro-batch, in order.
    """

    batches: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return [row for batch in self.batches for row in batch]

    def run(self, stream: DataFrame) -> None:
        """Run a stream over all that its source has, and stop."""
        with tempfile.TemporaryDirectory() as checkpoint:
            query = self._writer(stream).option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
            query.awaitTermination()

    def _writer(self, stream: DataFrame) -> DataStreamWriter:
        return stream.writeStream.foreachBatch(lambda batch, _: self.batches.append(rows_of(batch)))


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    # Spark takes a datetime without a zone for the machine's local time.
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _moment(value).astimezone(UTC)
    return value


def _arrow(table: DataFrame | pd.DataFrame) -> pa.Table:
    return table.toArrow() if isinstance(table, DataFrame) else pa.Table.from_pandas(table, preserve_index=False)


def _hashable(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values so that equal ones have equal hashes; column by column, which is fast enough for a year."""
    if pa.types.is_timestamp(column.type):
        return list(column.cast(pa.timestamp("us", "UTC")).cast(pa.string()).to_pylist())
    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        return ["NaN" if value != value else value for value in values]  # equal to itself here, unlike in arithmetic
    return [repr(value) for value in values] if pa.types.is_nested(column.type) else list(values)
