"""One row a key: which good records of a batch repeat a key, and whose row stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakehouse.deadletter.envelope import POSITION

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FEW = 200_000
"""So many keys or positions are handed to every task at once: they take some ten megabytes."""

_ORIGIN = [f"_{name}" for name in POSITION.names]


def repeated_hashes(good: DataFrame, standing: DataFrame, keys: Sequence[str], count: int) -> DataFrame:
    """Return hashes of the keys that may be repeated; nearly always there are none, and nothing more is to do.

    Args:
        good: Good records of the batch.
        standing: Rows of the table whose keys may be among them.
        keys: The key columns.
        count: How many good records there are.

    Returns:
        One BIGINT column ``_hash``. Different keys may share a hash: :func:`duplicates` compares the keys themselves.
    """
    digest = F.xxhash64(*keys).alias("_hash")
    new, old = good.select(digest), standing.select(digest)
    if count <= FEW:  # then the table, which may be large, need not be shuffled
        old = old.join(F.broadcast(new), "_hash", "left_semi")
    return new.union(old).groupBy("_hash").count().where("count > 1").select("_hash")


def duplicates(good: DataFrame, standing: DataFrame, keys: Sequence[str], repeated: DataFrame | None = None) -> DataFrame:
    """Return the records that repeat a key, with the record whose row stands.

    The row that stands is the one in the table, else the one that came first by the feed clock, then by partition and offset. A
    record whose own row is in the table already (a batch that is run again after a crash) is no duplicate of itself.

    Args:
        good: Good records.
        standing: Rows of the table.
        keys: The key columns.
        repeated: Only keys with these hashes are looked at; all keys when left out.

    Returns:
        Columns of :func:`~lakehouse.deadletter.envelope.duplicate_schema`.
    """
    columns = [*keys, *_ORIGIN, "_timestamp"]
    both = good.select(*columns, F.lit(0).alias("_age")).union(standing.select(*columns, F.lit(1).alias("_age")))
    if repeated is not None:
        both = both.withColumn("_hash", F.xxhash64(*keys)).join(F.broadcast(repeated), "_hash", "left_semi")
    order = Window.partitionBy(*keys).orderBy(F.desc("_age"), "_timestamp", *_ORIGIN)
    position, kept = F.struct(*_ORIGIN), F.first(F.struct(*_ORIGIN)).over(order)
    return (
        both.withColumn("_kept", kept)
        .where((F.col("_age") == 0) & (F.col("_kept") != position))
        .select(
            *[F.col(f"_{name}").alias(name) for name in POSITION.names],
            *keys,
            *[F.col("_kept")[f"_{name}"].alias(f"kept_{name}") for name in POSITION.names],
            F.current_timestamp().alias("found_at"),
        )
    )


def without(good: DataFrame, repeats: DataFrame) -> DataFrame:
    """Return the records that are not among the duplicates."""
    marks = repeats.select(*[F.col(name).alias(f"_{name}") for name in POSITION.names])
    if repeats.count() <= FEW:
        marks = F.broadcast(marks)  # Spark cannot know how few they are, and would sort the whole batch
    return good.join(marks, _ORIGIN, "left_anti")
