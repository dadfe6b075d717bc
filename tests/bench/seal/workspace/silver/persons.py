"""Persons, sealed."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, Personal, silver


@silver(
    "persons",
    keys=["id"],
    parse=Json("id STRING, at TIMESTAMP, carrier STRING, email STRING, name STRING"),
    event_time="at",
    watermark="1 day",
    future="1 hour",
    pii=Personal("email", tenant="carrier", tokens=["email"], sealed=["name"]),
)
def persons(records: Annotated[DataFrame, Bronze("persons")]) -> DataFrame:
    """Persons, a name each."""
    return records.select("_record", "id", "at", "carrier", "email", "name")
