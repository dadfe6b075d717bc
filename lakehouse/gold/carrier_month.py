"""Carriers by month."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Reference, Silver, Trunc, gold
from lakehouse.gold._measures import MEASURES, measures


@gold("carrier_month", keys=["carrier", "month"], suite="gold/carrier_month")
def carrier_month(
    flights: Annotated[DataFrame, Silver("flights", month=Trunc("scheduled_departure", "month"))],
    airlines: Annotated[DataFrame, Reference("airlines")],
) -> DataFrame:
    """Flights, cancellations and delays of each carrier, by the month (UTC) of the scheduled departure."""
    month = F.date_trunc("month", "scheduled_departure").alias("month")
    grouped = flights.groupBy("carrier", month).agg(*measures(), F.sum("distance").alias("scheduled_miles"))
    names = airlines.select("carrier", F.col("name").alias("carrier_name"))
    return grouped.join(F.broadcast(names), "carrier", "left").select(
        "carrier", "month", "carrier_name", "scheduled_miles", *MEASURES
    )
