"""Flights: the events of each flight, merged into its state."""

from typing import Annotated

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Silver, silver


@silver("flights", keys=["flight_id"], suite="silver/flights", cluster_by=["flight_id"])
def flights(events: Annotated[DataFrame, Silver("flight_events")]) -> DataFrame:
    """One row a flight: schedule, actual times, delays in minutes and status, whatever order its events came in."""
    # The schedule is the latest event's. `event` decides between two of one moment, so that the order never matters.
    schedule = F.max_by(
        F.struct("carrier", "flight", "tailnum", "origin", "dest", "scheduled_departure", "scheduled_arrival", "distance"),
        F.struct("event_time", "event"),
    )
    merged = events.groupBy("flight_id").agg(
        schedule.alias("schedule"),
        _of("departed", "event_time").alias("actual_departure"),
        _of("departed", "delay").alias("departure_delay"),
        _of("arrived", "event_time").alias("actual_arrival"),
        _of("arrived", "delay").alias("arrival_delay"),
        _of("arrived", "air_time").alias("air_time"),
        F.max("event_time").alias("updated_at"),
    )
    return merged.select(
        "flight_id",
        "schedule.carrier",
        "schedule.flight",
        "schedule.tailnum",
        "schedule.origin",
        "schedule.dest",
        "schedule.distance",
        "schedule.scheduled_departure",
        "schedule.scheduled_arrival",
        "actual_departure",
        "actual_arrival",
        "departure_delay",
        "arrival_delay",
        "air_time",
        F.when(F.col("actual_arrival").isNotNull(), "arrived")
        .when(F.col("actual_departure").isNotNull(), "departed")
        .otherwise("cancelled")
        .alias("status"),
        "updated_at",
    )


def _of(event: str, column: str) -> Column:
    """Return the value of a column in the one event of a kind; null when there is none yet."""
    return F.max(F.when(F.col("event") == event, F.col(column)))
