"""Delays by carrier and hour."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Silver, Trunc, gold
from lakehouse.gold._measures import MEASURES, measures


@gold("delays_by_carrier_hour", keys=["carrier", "hour"], suite="gold/delays_by_carrier_hour", cluster_by=["hour"])
def delays_by_carrier_hour(
    flights: Annotated[DataFrame, Silver("flights", hour=Trunc("scheduled_departure", "hour"))],
) -> DataFrame:
    """Flights, cancellations and delays of each carrier, by the hour (UTC) of the scheduled departure."""
    hour = F.date_trunc("hour", "scheduled_departure").alias("hour")
    return flights.groupBy("carrier", hour).agg(*measures()).select("carrier", "hour", *MEASURES)
