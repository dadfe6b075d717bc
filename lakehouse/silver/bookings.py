"""Bookings: who flies is a token or sealed, what was booked is not."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, Personal, silver


@silver(
    "bookings",
    keys=["booking_id"],
    parse=Json("""
        booking_id STRING, booked_at TIMESTAMP, carrier STRING, flight_id STRING, passenger STRING, email STRING, phone STRING,
        document STRING, seat STRING, fare DOUBLE
    """),
    event_time="booked_at",
    watermark="6 hours",
    future="5 minutes",
    suite="silver/bookings",
    cluster_by=["booked_at"],
    pii=Personal("email", tenant="carrier", tokens=["email"], sealed=["passenger", "phone", "document"]),
)
def bookings(records: Annotated[DataFrame, Bronze("bookings")]) -> DataFrame:
    """Each booking of a seat: flight, fare in dollars, and its passenger, made up and unreadable without the passenger's key."""
    return records.select(
        "_record",
        "booking_id",
        "booked_at",
        "carrier",
        "flight_id",
        "passenger",
        "email",
        "phone",
        "document",
        "seat",
        "fare",
    )
