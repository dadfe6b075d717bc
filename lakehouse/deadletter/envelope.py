"""What is kept of a record: all of it, so that it can be read again exactly and once.

The same columns carry a record in bronze, through the gate, and in the dead letters.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

HEADER = StructType([StructField("key", StringType()), StructField("value", BinaryType())])

RECORD = StructType(
    [
        StructField("topic", StringType()),
        StructField("topic_id", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
        StructField("timestamp", TimestampType()),
        StructField("key", BinaryType()),
        StructField("value", BinaryType()),
        StructField("headers", ArrayType(HEADER)),
        # Which key the payload is encrypted under; null: it is not.
        StructField("payload_key_id", StringType()),
    ]
)
"""Columns of bronze: a Kafka record as it came, and the id of its topic (a topic made again under one name is another)."""

DEAD_LETTER = StructType(
    [
        *RECORD.fields,
        StructField("reasons", ArrayType(StringType())),
        StructField("suite", StringType()),
        StructField("suite_version", StringType()),
        StructField("dead_at", TimestampType()),
        # Set by a replay, in the commit that moves the record on; a letter is replayed once.
        StructField("replayed_at", TimestampType()),
    ]
)
"""Columns of the dead letters of a feed."""

POSITION = StructType(
    [
        StructField("topic_id", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
    ]
)
"""What names a record among all records of a feed."""

SILVER_ORIGIN = StructType([StructField(f"_{f.name}", f.dataType) for f in [*POSITION.fields, RECORD["timestamp"]]])
"""Columns that an ingest table has beside its own: which record a row came from, and the feed clock."""


def duplicate_schema(keys: StructType) -> StructType:
    """Return the columns of a feed's duplicates: the record, its key, and the record whose row stands in silver."""
    kept = [StructField(f"kept_{f.name}", f.dataType) for f in POSITION.fields]
    return StructType([*POSITION.fields, *keys.fields, *kept, StructField("found_at", TimestampType())])


def position(prefix: str = "") -> list[Column]:
    """Return the columns of :data:`POSITION`, read from columns with a prefix."""
    return [F.col(f"{prefix}{name}").alias(name) for name in POSITION.names]
