"""Ticks, parsed."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, silver


@silver(
    "ticks",
    keys=["id"],
    parse=Json("sent_us BIGINT, id STRING, shard INT, price DOUBLE, venue STRING, account STRING, at TIMESTAMP"),
    event_time="at",
    watermark="1 day",
    future="1 hour",
)
def ticks(records: Annotated[DataFrame, Bronze("ticks")]) -> DataFrame:
    """Each tick."""
    return records.select("_record", "sent_us", "id", "shard", "price", "venue", "account", "at")
