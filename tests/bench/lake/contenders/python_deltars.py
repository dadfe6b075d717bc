"""A Python consumer: confluent-kafka reads batches, Polars parses and checks them, delta-rs writes the three tables.

At least once: offsets are committed after the writes, and a crash between them would repeat a batch.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
from confluent_kafka import Consumer, Message, TopicPartition
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from lakehouse.clients import delta_rs
from lakehouse.settings import Settings
from lakehouse.sources.kafka import end_offsets
from lakehouse.workspace import Workspace

_BATCH = 250_000  # records; larger ones were not faster, and take memory
_LATENESS = timedelta(minutes=10)
_WIRE = {
    "id": pl.String,
    "happened_at": pl.String,
    "kind": pl.String,
    "country": pl.String,
    "page": pl.String,
    "amount": pl.Int32,
    "quantity": pl.Int32,
    "user": pl.String,
}
_GOOD = (
    pl.col("id").is_not_null()
    & pl.col("happened_at").is_not_null()
    & pl.col("user").is_not_null()
    & pl.col("kind").is_in(["view", "cart", "purchase", "refund"])
    & pl.col("country").str.contains(r"^[A-Z]{2}$")
    & pl.col("page").str.contains(r"^/[a-z0-9/-]+$")
    & pl.col("amount").is_between(0, 1_000_000)
    & pl.col("quantity").is_between(1, 100)
).fill_null(value=False)


@contextmanager
def ready(workspace: Workspace) -> Iterator[Job]:
    """Connect to the broker."""
    settings = Settings.load(workspace)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.require("kafka"),
            "group.id": f"python-deltars-{time.time_ns()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 16 << 20,
            "queued.max.messages.kbytes": 256 << 10,
        }
    )
    try:
        yield Job(settings, consumer)
    finally:
        consumer.close()


class Job:
    """The work that is timed."""

    def __init__(self, settings: Settings, consumer: Consumer) -> None:
        self._settings = settings
        self._consumer = consumer
        self._options = delta_rs(settings)
        self._seconds = {"bronze": 0.0, "silver": 0.0, "gold": 0.0}
        self._recent = pl.DataFrame(schema={"id": pl.String, "happened_at": pl.Datetime("us", "UTC")})

    def work(self) -> dict[str, float]:
        """Consume to the end of the topic; returns the seconds spent on each layer."""
        ends = end_offsets(self._settings, "events")
        self._consumer.assign([TopicPartition("events", partition, 0) for partition in ends])
        left = sum(ends.values())
        while left:
            begun = time.monotonic()
            messages = self._consumer.consume(min(_BATCH, left), 1.0)
            if not messages:
                continue
            if error := next((m.error() for m in messages if m.error()), None):
                raise RuntimeError(f"Kafka: {error}")
            left -= len(messages)
            bronze = _bronze(messages)
            self._append("bronze/events", bronze)
            parsed = time.monotonic()
            self._seconds["bronze"] += parsed - begun
            silver, dead = self._judge(bronze)
            self._append("silver/events", silver.to_arrow())
            if len(dead):
                self._append("dead_letters/events", dead)
            written = time.monotonic()
            self._seconds["silver"] += written - parsed
            self._merge_gold(silver)
            self._consumer.commit(
                offsets=[TopicPartition("events", m.partition() or 0, (m.offset() or 0) + 1) for m in _last(messages)],
                asynchronous=False,
            )
            self._seconds["gold"] += time.monotonic() - written
        return self._seconds

    def _judge(self, bronze: pa.Table) -> tuple[pl.DataFrame, pa.Table]:
        """Parse and check; returns the new good rows, and the bad records."""
        records = pl.DataFrame({"value": pl.from_arrow(bronze["value"])}).with_row_index("row")
        text = records.with_columns(pl.col("value").cast(pl.String, strict=False))
        # One broken line fails Polars' whole batch, so what cannot be an object on one line is left out before.
        readable = text.filter(
            pl.col("value").str.starts_with("{") & pl.col("value").str.ends_with("}") & ~pl.col("value").str.contains("\n")
        )
        judged = (
            pl.concat([readable.select("row"), _decode(readable["value"])], how="horizontal")
            .with_columns(
                pl.col("happened_at")
                .str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
                .dt.replace_time_zone("UTC")
            )
            .filter(_GOOD)
        )
        bad = records.join(judged, on="row", how="anti").sort("row")["row"].to_list()
        origin = pl.from_arrow(bronze.select(["partition", "offset", "timestamp"]))
        assert isinstance(origin, pl.DataFrame)
        silver = judged.join(origin.with_row_index("row"), on="row", how="left").drop("row")
        return self._new(silver), bronze.take(pa.array(bad, pa.int64()))

    def _new(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Drop rows whose id came before, in this batch or within the lateness; remember the others."""
        new = rows.unique("id", keep="first", maintain_order=True).join(self._recent, on="id", how="anti")
        recent = pl.concat([self._recent, new.select("id", "happened_at")])
        self._recent = recent.filter(pl.col("happened_at") > pl.col("happened_at").max() - _LATENESS)
        return new

    def _merge_gold(self, silver: pl.DataFrame) -> None:
        windows = silver.group_by("country", pl.col("happened_at").dt.truncate("1m").alias("minute")).agg(
            pl.len().cast(pl.Int64).alias("events"), pl.col("amount").cast(pl.Int64).sum()
        )
        path = f"{self._root}/gold/events_by_minute"
        try:
            table = DeltaTable(path, storage_options=self._options)
        except TableNotFoundError:
            self._append("gold/events_by_minute", windows.to_arrow())
            return
        merge = table.merge(
            windows.to_arrow(), "t.country = s.country AND t.minute = s.minute", source_alias="s", target_alias="t"
        )
        add = {"events": "t.events + s.events", "amount": "t.amount + s.amount"}
        merge.when_matched_update(add).when_not_matched_insert_all().execute()

    @property
    def _root(self) -> str:
        return f"s3://{self._settings.s3.bucket}"

    def _append(self, path: str, table: Any) -> None:
        write_deltalake(f"{self._root}/{path}", table, mode="append", storage_options=self._options)


def _bronze(messages: list[Message]) -> pa.Table:
    return pa.table(
        {
            "partition": pa.array([m.partition() for m in messages], pa.int32()),
            "offset": pa.array([m.offset() for m in messages], pa.int64()),
            "timestamp": pa.array([m.timestamp()[1] for m in messages], pa.timestamp("ms", "UTC")).cast(
                pa.timestamp("us", "UTC")
            ),
            "key": pa.array([m.key() for m in messages], pa.binary()),
            "value": pa.array([m.value() for m in messages], pa.binary()),
        }
    )


def _decode(lines: pl.Series) -> pl.DataFrame:
    """Parse one object a line; a field that is missing or of another type is null, and so are all of a line that is no JSON."""
    try:
        return pl.read_ndjson(io.BytesIO("\n".join(lines.to_list()).encode()), schema=_WIRE, ignore_errors=True)
    except pl.exceptions.ComputeError:
        return pl.DataFrame([_object(line) for line in lines], schema=_WIRE, strict=False, orient="row")


def _object(line: str) -> list[Any]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return [None] * len(_WIRE)
    kinds = (int if kind == pl.Int32 else str for kind in _WIRE.values())
    return [value if type(value := fields.get(name)) is kind else None for name, kind in zip(_WIRE, kinds, strict=True)]


def _last(messages: list[Message]) -> list[Message]:
    return list({m.partition(): m for m in messages}.values())
