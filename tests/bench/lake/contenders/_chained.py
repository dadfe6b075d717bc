"""Three chained ``availableNow`` queries, as one writes them with PySpark alone: Kafka → bronze → silver → gold."""

from __future__ import annotations

import time
from collections.abc import Callable

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings import Settings

_SCHEMA = "id STRING, happened_at TIMESTAMP, kind STRING, country STRING, page STRING, amount INT, quantity INT, user STRING"
_FIELDS = tuple(field.split()[0] for field in _SCHEMA.split(", "))
_LATENESS = "10 minutes"


class Job:
    """The work that is timed."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark = spark
        self._servers = settings.require("kafka")
        self._root = settings.lake_uri

    def work(self) -> dict[str, float]:
        """Run the three queries one after the other; returns the seconds of each."""
        return {"bronze": _timed(self._bronze), "silver": _timed(self._silver), "gold": _timed(self._gold)}

    def _bronze(self) -> None:
        records = (
            self._spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self._servers)
            .option("subscribe", "events")
            .option("startingOffsets", "earliest")
            .option("includeHeaders", "true")
            .load()
        )
        query = records.select("topic", "partition", "offset", "timestamp", "key", "value", "headers").writeStream
        query.format("delta").option("checkpointLocation", f"{self._root}/_checkpoints/bronze").trigger(availableNow=True).start(
            f"{self._root}/bronze/events"
        ).awaitTermination()

    def _silver(self) -> None:
        records = self._spark.readStream.format("delta").load(f"{self._root}/bronze/events")
        parsed = records.withColumn("event", F.from_json(F.col("value").cast("string"), _SCHEMA))
        judged = parsed.select(
            *[F.col(f"event.{name}").alias(name) for name in _FIELDS],
            *("topic", "partition", "offset", "timestamp"),
            F.coalesce(_checks("event."), F.lit(False)).alias("good"),
            "key",
            "value",
        ).withColumns(
            {
                "value": F.when(~F.col("good"), F.col("value")),  # a good row needs no raw bytes: less to shuffle
                "key": F.when(~F.col("good"), F.col("key")),
                # Bad rows go through the deduplication untouched: each has a key of its own, and the record's time.
                "dedup_key": F.when(F.col("good"), F.col("id")).otherwise(F.concat_ws(":", "partition", "offset")),
                "dedup_time": F.when(F.col("good"), F.col("happened_at")).otherwise(F.col("timestamp")),
            }
        )
        unique = judged.withWatermark("dedup_time", _LATENESS).dropDuplicatesWithinWatermark(["dedup_key"])
        self._run(unique, "silver", self._write_silver, "append")

    def _write_silver(self, batch: DataFrame, batch_id: int) -> None:
        batch.persist()
        good = batch.where("good").select(*_FIELDS, "partition", "offset", "timestamp")
        bad = batch.where("NOT good").select("topic", "partition", "offset", "timestamp", "key", "value")
        for frame, path in ((good, "silver/events"), (bad, "dead_letters/events")):
            writer = frame.write.format("delta").mode("append").option("txnAppId", path).option("txnVersion", batch_id)
            writer.save(f"{self._root}/{path}")
        batch.unpersist()

    def _gold(self) -> None:
        DeltaTable.createIfNotExists(self._spark).location(f"{self._root}/gold/events_by_minute").addColumn(
            "country", "STRING"
        ).addColumn("minute", "TIMESTAMP").addColumn("events", "BIGINT").addColumn("amount", "BIGINT").execute()
        silver = self._spark.readStream.format("delta").load(f"{self._root}/silver/events")
        windows = (
            silver.withWatermark("happened_at", _LATENESS)
            .groupBy("country", F.window("happened_at", "1 minute"))
            .agg(F.count("*").alias("events"), F.sum("amount").alias("amount"))
            .select("country", F.col("window.start").alias("minute"), "events", "amount")
        )
        self._run(windows, "gold", self._merge_gold, "update")

    def _merge_gold(self, batch: DataFrame, _: int) -> None:
        gold = DeltaTable.forPath(self._spark, f"{self._root}/gold/events_by_minute").alias("t")
        merge = gold.merge(batch.alias("s"), "t.country = s.country AND t.minute = s.minute")
        merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()

    def _run(self, frame: DataFrame, name: str, process: Callable[[DataFrame, int], None], mode: str) -> None:
        writer = frame.writeStream.foreachBatch(process).outputMode(mode)
        writer = writer.option("checkpointLocation", f"{self._root}/_checkpoints/{name}")
        writer.trigger(availableNow=True).start().awaitTermination()


def _checks(prefix: str) -> Column:
    """Key and time are there, and the six checks of the suite hold; a field that is missing or of another type is null."""
    field = {name: F.col(f"{prefix}{name}") for name in _FIELDS}
    return (
        field["id"].isNotNull()
        & field["happened_at"].isNotNull()
        & field["user"].isNotNull()
        & field["kind"].isin("view", "cart", "purchase", "refund")
        & field["country"].rlike(r"^[A-Z]{2}$")
        & field["page"].rlike(r"^/[a-z0-9/-]+$")
        & field["amount"].between(0, 1_000_000)
        & field["quantity"].between(1, 100)
    )


def _timed(step: Callable[[], None]) -> float:
    begun = time.monotonic()
    step()
    return time.monotonic() - begun
