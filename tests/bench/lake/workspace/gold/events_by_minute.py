"""Shop events by minute and country."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Silver, Trunc, gold


@gold("events_by_minute", keys=["country", "minute"])
def events_by_minute(events: Annotated[DataFrame, Silver("events", minute=Trunc("happened_at", "minute"))]) -> DataFrame:
    """How many events each country had in each minute, and their amounts in cents."""
    minute = F.date_trunc("minute", "happened_at").alias("minute")
    return events.groupBy("country", minute).agg(F.count("*").alias("events"), F.sum("amount").alias("amount"))
