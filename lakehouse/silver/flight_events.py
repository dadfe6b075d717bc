"""Flight events: typed, gated, one row for each flight and kind of event."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, silver


@silver(
    "flight_events",
    keys=["flight_id", "event"],
    parse=Json("""
        flight_id STRING, event STRING, event_time TIMESTAMP, carrier STRING, flight INT, tailnum STRING, origin STRING,
        dest STRING, scheduled_departure TIMESTAMP, scheduled_arrival TIMESTAMP, distance INT, delay INT, air_time INT
    """),
    event_time="event_time",
    watermark="6 hours",
    future="5 minutes",
    suite="silver/flight_events",
    cluster_by=["flight_id"],
)
def flight_events(records: Annotated[DataFrame, Bronze("flights")]) -> DataFrame:
    """Each flight's departure, arrival or cancellation, with its schedule; delays and air time in minutes, distance in miles."""
    return records.select(
        "_record",
        "flight_id",
        "event",
        "event_time",
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        "scheduled_departure",
        "scheduled_arrival",
        "distance",
        "delay",
        "air_time",
    )
