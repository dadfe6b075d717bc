"""Sales, parsed."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, silver


@silver(
    "sales",
    keys=["id"],
    parse=Json("id STRING, sold_at TIMESTAMP, shop INT, product STRING, customer STRING, amount DOUBLE"),
    event_time="sold_at",
    watermark="1 day",
    future="1 hour",
)
def sales(records: Annotated[DataFrame, Bronze("sales")]) -> DataFrame:
    """Each sale."""
    return records.select("_record", "id", "sold_at", "shop", "product", "customer", "amount")
