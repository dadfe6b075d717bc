"""Kafka → bronze: every record as it came."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.catalog import TableSpec
from lakehouse.deadletter.envelope import RECORD
from lakehouse.errors import DataLossError
from lakehouse.lanes.context import Context
from lakehouse.lanes.protect import Protection
from lakehouse.lanes.records import as_records, read_topic
from lakehouse.lanes.writes import append_once
from lakehouse.session import cores
from lakehouse.sources.kafka import begin_offsets, ensure_topic, topic_id
from lakehouse.storage.warm import Upkeep, ensure_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Consumers fetch far more at once than Kafka's defaults, which are made for many small consumers (docs/performance.md).
_CONSUMER = {
    "kafka.max.poll.records": "20000",
    "kafka.max.partition.fetch.bytes": str(16 << 20),
    "kafka.fetch.max.bytes": str(64 << 20),
    "kafka.receive.buffer.bytes": str(1 << 20),
    "kafka.check.crcs": "true",
}


class BronzeTable:
    """The query of one feed's bronze table."""

    def __init__(self, context: Context, spec: TableSpec) -> None:
        assert spec.source is not None
        self._context = context
        self._spec = spec
        self._topic = spec.source.topic
        self._path = context.path(spec)
        self._upkeep = Upkeep(context.spark, self._path, optimize_every=context.settings.lake.optimize_every)
        self._topic_id = ""
        self._protection: Protection | None = None

    def prepare(self) -> None:
        """Make the table, and the topic if this feed never ran; check that the topic is the one that was read before.

        Raises:
            DataLossError: It is another topic of the same name, or gone.
            KeyringError: Its personal data cannot be protected.
        """
        context, spec = self._context, self._spec
        assert spec.source is not None
        self._protection = context.protector.of(context.catalog.ingest(spec.name))
        ensure_table(
            context.spark,
            self._path,
            RECORD,
            stats_columns=["topic_id", "partition", "offset", "timestamp"],
            retention=context.settings.lake.vacuum_retention,
            change_feed=False,
        )
        epoch = context.epoch(spec)
        if epoch.topic_id is None:
            ensure_topic(context.settings, spec.source)
        found = topic_id(context.settings, self._topic)
        if epoch.topic_id is None:
            context.epochs.put(spec.full_name, replace(epoch, topic_id=found))
        elif found != epoch.topic_id or spec.name in context.accept_loss:
            if spec.name not in context.accept_loss:
                raise DataLossError(self._loss("is gone" if found is None else "was deleted and made again"))
            self._begin_again(found)
        self._topic_id = context.epoch(spec).topic_id or ""

    def stream(self) -> DataFrame:
        """Return what the query reads: the records of the topic."""
        context = self._context
        options = {
            "maxOffsetsPerTrigger": str(context.settings.lake.max_records_per_batch),
            "minPartitions": str(cores(context.settings)),
            **context.epoch(self._spec).options,
        }
        return read_topic(context.spark, context.settings, self._topic, _CONSUMER, options)

    def process(self, records: DataFrame, batch_id: int) -> None:
        """Append one batch; the same batch again changes nothing."""
        context = self._context
        context.lease.check()
        frame = as_records(records, self._topic_id)
        if self._protection is not None:
            frame = self._protection.seal_records(frame)
        append_once(frame, self._path, context.epoch(self._spec).transaction(self._spec.full_name), batch_id)
        if topic_id(context.settings, self._topic) != self._topic_id:
            raise DataLossError(self._loss("was deleted or made again"))
        self._upkeep.after_batch(batch_id)

    def _begin_again(self, found: str | None) -> None:
        """Start a new epoch at what the topic holds now, after an operator accepted what is lost."""
        context, spec = self._context, self._spec
        assert spec.source is not None
        if found is None:
            ensure_topic(context.settings, spec.source)
            found = topic_id(context.settings, self._topic)
        before = context.epoch(spec)
        first = begin_offsets(context.settings, self._topic)
        start = dict(first)
        if found == before.topic_id:  # the same topic, with records expired: go on behind what is in bronze
            for partition, offset in self._read_offsets(found or "").items():
                start[partition] = max(offset, first.get(partition, 0))
        context.epochs.next(
            spec.full_name,
            topic_id=found,
            options={"startingOffsets": json.dumps({self._topic: {str(p): o for p, o in start.items()}})},
            lost=[*before.lost, {"topic_id": before.topic_id, "until": start}],
        )
        context.accept_loss.discard(spec.name)

    def _read_offsets(self, topic: str) -> dict[int, int]:
        """Return, for each partition, the offset after the last one that is in bronze."""
        rows = (
            self._context.spark.read.format("delta")
            .load(self._path)
            .where(F.col("topic_id") == topic)
            .groupBy("partition")
            .agg(F.max("offset").alias("last"))
            .collect()
        )
        return {row["partition"]: row["last"] + 1 for row in rows}

    def _loss(self, what: str) -> str:
        return (
            f"Topic {self._topic} of feed {self._spec.name} {what}, so records may be lost; "
            f"`tidemill run --accept-loss {self._spec.name}` goes on with what the topic holds now."
        )
