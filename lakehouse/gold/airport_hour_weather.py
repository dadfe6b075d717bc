"""Departures and weather, by airport and hour."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Silver, Trunc, gold
from lakehouse.gold._measures import MEASURES, measures


@gold("airport_hour_weather", keys=["origin", "hour"], suite="gold/airport_hour_weather", cluster_by=["hour"])
def airport_hour_weather(
    flights: Annotated[DataFrame, Silver("flights", hour=Trunc("scheduled_departure", "hour"))],
    weather: Annotated[DataFrame, Silver("weather", hour="observed_at")],
) -> DataFrame:
    """Departures of each airport by their scheduled hour (UTC), with the weather observed at its beginning, if any."""
    hour = F.date_trunc("hour", "scheduled_departure").alias("hour")
    grouped = flights.groupBy("origin", hour).agg(*measures())
    observed = weather.withColumnRenamed("observed_at", "hour")
    return grouped.join(observed, ["origin", "hour"], "left").select(
        "origin", "hour", *MEASURES, "temp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"
    )
