"""Shop events: typed and gated; ``sent_us`` says when each was meant to be sent."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, silver


@silver(
    "events",
    keys=["id"],
    parse=Json("""
        id STRING, sent_us BIGINT, happened_at TIMESTAMP, kind STRING, country STRING, page STRING, amount INT, quantity INT,
        user STRING
    """),
    event_time="happened_at",
    watermark="10 minutes",
    future="5 minutes",
    suite="silver/events",
)
def events(records: Annotated[DataFrame, Bronze("events")]) -> DataFrame:
    """What customers did in the shop; amounts in cents."""
    return records.select("_record", "id", "sent_us", "happened_at", "kind", "country", "page", "amount", "quantity", "user")
