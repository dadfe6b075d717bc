"""Delta tables on the object store: made with the right properties, kept small in number of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from delta.tables import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

LOG_RETENTION = "interval 2 days"


def ensure_table(
    spark: SparkSession,
    path: str,
    schema: StructType,
    *,
    stats_columns: Sequence[str],
    cluster_by: Sequence[str] = (),
    retention: str = "24 hours",
    change_feed: bool = True,
) -> bool:
    """Make a table, or bring its columns and properties up to date.

    Args:
        spark: The session.
        path: Where the table lies.
        schema: Its columns. Columns that the table lacks are added; those it has more are kept.
        stats_columns: Columns whose minimum and maximum each file carries, for file skipping. Few: each one costs on write.
        cluster_by: Columns of the liquid clustering.
        retention: How long VACUUM keeps files that no version uses any more.
        change_feed: Whether changes can be read by row.

    Returns:
        True when columns were added to a table that was there.
    """
    properties = {
        "delta.enableChangeDataFeed": str(change_feed).lower(),
        "delta.dataSkippingStatsColumns": ",".join(f"`{column}`" for column in stats_columns),
        "delta.deletedFileRetentionDuration": f"interval {retention}",
        "delta.logRetentionDuration": LOG_RETENTION,
        # delta-rs reads these tables for queries without Spark, so deleted rows are rewritten rather than marked.
        "delta.enableDeletionVectors": "false",
        "delta.checkpointInterval": "20",
    }
    if not DeltaTable.isDeltaTable(spark, path):
        builder = DeltaTable.createIfNotExists(spark).location(path).addColumns(schema)
        for key, value in properties.items():
            builder = builder.property(key, value)
        if cluster_by:
            builder = builder.clusterBy(*cluster_by)
        builder.execute()
        return False
    table = DeltaTable.forPath(spark, path)
    known = {f.name for f in table.toDF().schema.fields}
    added = [f for f in schema.fields if f.name not in known]
    if added:
        columns = ", ".join(f"`{f.name}` {f.dataType.simpleString()}" for f in added)
        spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMNS ({columns})")
    have = table.detail().select("properties").first()
    assert have is not None
    changed = {key: value for key, value in properties.items() if have[0].get(key) != value}
    if changed:
        pairs = ", ".join(f"'{key}' = '{value}'" for key, value in changed.items())
        spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({pairs})")
    return bool(added)


def latest_version(spark: SparkSession, path: str) -> int:
    """Return the version of a table's last commit, or -1 when there is no table."""
    if not DeltaTable.isDeltaTable(spark, path):
        return -1
    row = DeltaTable.forPath(spark, path).history(1).select("version").first()
    assert row is not None
    return int(row[0])


class Upkeep:
    """Compaction and clean-up of one table, done by its own writer between two batches, so that nothing conflicts."""

    def __init__(self, spark: SparkSession, path: str, *, optimize_every: int, vacuum_every: int = 200) -> None:
        self._spark = spark
        self._path = path
        self._optimize_every = optimize_every
        self._vacuum_every = vacuum_every

    def after_batch(self, batch_id: int) -> None:
        """Every so many batches, rewrite small files into large ones and delete what no version needs.

        A query's batches are numbered on by the next process, so those that end after each batch compact their tables too.
        """
        batches = batch_id + 1
        if batches % self._optimize_every == 0:
            DeltaTable.forPath(self._spark, self._path).optimize().executeCompaction()
        if batches % self._vacuum_every == 0:
            DeltaTable.forPath(self._spark, self._path).vacuum()
