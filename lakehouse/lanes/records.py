"""A topic's records as Spark reads them, the same for both lanes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.clients import spark_kafka
from lakehouse.deadletter.envelope import RECORD
from lakehouse.settings import Settings
from lakehouse.sources.kafka import extents

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MESSAGE_JSON = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "ignoreNullFields": "true"}
"""How Spark writes the rows of live topics."""


def read_topic(
    spark: SparkSession, settings: Settings, topic: str, consumer: dict[str, str], options: dict[str, str] | None = None
) -> DataFrame:
    """Return a topic as a stream, from its beginning; lost records are an error.

    Args:
        spark: The session.
        settings: Where the broker is; its ``kafka.options`` win over ``consumer``.
        topic: The topic.
        consumer: Options of Kafka's client, each ``kafka.…``.
        options: Options of Spark's source, which win over those here.
    """
    common = {"subscribe": topic, "startingOffsets": "earliest", "failOnDataLoss": "true", "includeHeaders": "true"}
    return spark.readStream.format("kafka").options(**{**consumer, **spark_kafka(settings), **common, **(options or {})}).load()


def read_latest(spark: SparkSession, settings: Settings, topic: str, records: int) -> DataFrame:
    """Return the latest records of each partition of a topic, as a table.

    Args:
        spark: The session.
        settings: Where the broker is.
        topic: The topic.
        records: How many of each partition, at most.
    """
    held = extents(settings, [topic])[topic]
    span = {
        "startingOffsets": {topic: {str(x): max(held.begin[x], end - records) for x, end in held.end.items()}},
        "endingOffsets": {topic: {str(x): end for x, end in held.end.items()}},
    }
    options = {"subscribe": topic, "includeHeaders": "true", **{name: json.dumps(offsets) for name, offsets in span.items()}}
    return spark.read.format("kafka").options(**{**spark_kafka(settings), **options}).load()


def as_records(messages: DataFrame, topic_id: str) -> DataFrame:
    """Return Kafka's columns as those of :data:`~lakehouse.deadletter.envelope.RECORD`."""
    columns = {"topic_id": F.lit(topic_id), "payload_key_id": F.lit(None).cast("string")}
    return messages.select(*[columns.get(name, F.col(name)).alias(name) for name in RECORD.names])
