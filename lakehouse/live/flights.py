"""Flights as they happen."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Reference, Silver
from lakehouse.livetables import live
from lakehouse.windows import Windows


@live(
    "flights",
    keys=["flight_id"],
    sequence_by="event_time",
    retention="2 days",
    window="6 hours",
    windows=Windows(
        by=["carrier"],
        spans=["1 minute", "5 minutes", "60 minutes"],
        where="event = 'departed'",
        measures={
            "departures": "count(*)",
            "mean_delay": "avg(delay)",
            "p50_delay": "approx_percentile(delay, 0.5, 1000)",
            "p95_delay": "approx_percentile(delay, 0.95, 1000)",
        },
    ),
)
def flights(
    events: Annotated[DataFrame, Silver("flight_events")],
    airlines: Annotated[DataFrame, Reference("airlines")],
    airports: Annotated[DataFrame, Reference("airports")],
) -> DataFrame:
    """Each departure, arrival and cancellation, with the airline's name and where the flight goes; delays in minutes."""
    carriers = airlines.select("carrier", F.col("name").alias("carrier_name"))
    goals = airports.select(
        F.col("faa").alias("dest"),
        F.col("name").alias("dest_name"),
        F.col("lat").alias("latitude"),
        F.col("lon").alias("longitude"),
    )
    return (
        events.join(F.broadcast(carriers), "carrier", "left")
        .join(F.broadcast(goals), "dest", "left")
        .select(
            "_record",
            "flight_id",
            "event",
            "event_time",
            "carrier",
            "carrier_name",
            "flight",
            "origin",
            "dest",
            "dest_name",
            "latitude",
            "longitude",
            "scheduled_departure",
            "scheduled_arrival",
            "delay",
        )
    )
