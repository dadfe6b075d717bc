from __future__ import annotations

from datetime import datetime
from itertools import permutations
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from lakehouse.catalog import Catalog
from lakehouse.replay import flights as replayed
from lakehouse.silver.flights import flights
from lakehouse.testing import assert_same_rows, frame, rows_of

EVENTS = """
    flight_id STRING, event STRING, event_time TIMESTAMP, carrier STRING, flight INT, tailnum STRING, origin STRING,
    dest STRING, scheduled_departure TIMESTAMP, scheduled_arrival TIMESTAMP, distance INT, delay INT, air_time INT
"""
SCHEDULE = {
    "flight_id": "2013-01-01-UA-1545-EWR",
    "carrier": "UA",
    "flight": 1545,
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "scheduled_departure": "2013-01-01T10:15:00Z",
    "scheduled_arrival": "2013-01-01T14:19:00Z",
    "distance": 1400,
}
DEPARTED = {**SCHEDULE, "event": "departed", "event_time": "2013-01-01T10:17:00Z", "delay": 2}
ARRIVED = {**SCHEDULE, "event": "arrived", "event_time": "2013-01-01T14:30:00Z", "delay": 11, "air_time": 227}
CANCELLED = {**SCHEDULE, "event": "cancelled", "event_time": "2013-01-01T10:15:00Z", "tailnum": None}


@pytest.mark.parametrize("events", [*permutations([DEPARTED, ARRIVED])])
def test_events_merge_in_any_order(spark: SparkSession, events: tuple[dict[str, object], ...]) -> None:
    (row,) = rows_of(flights.function(frame(spark, EVENTS, events)))
    assert (row["status"], row["departure_delay"], row["arrival_delay"], row["air_time"]) == ("arrived", 2, 11, 227)
    assert f"{row['actual_departure']:%H:%M}-{row['actual_arrival']:%H:%M}" == "10:17-14:30"
    assert row["updated_at"] == row["actual_arrival"]


@pytest.mark.parametrize(
    ("event", "status", "departed", "arrived"),
    [(DEPARTED, "departed", 2, None), (ARRIVED, "arrived", None, 11), (CANCELLED, "cancelled", None, None)],
)
def test_one_event_gives_what_is_known(
    spark: SparkSession, event: dict[str, object], status: str, departed: int | None, arrived: int | None
) -> None:
    (row,) = rows_of(flights.function(frame(spark, EVENTS, [event])))
    assert (row["status"], row["departure_delay"], row["arrival_delay"]) == (status, departed, arrived)
    assert (row["carrier"], row["tailnum"], row["distance"]) == ("UA", event["tailnum"], 1400)


@pytest.mark.parametrize("events", [*permutations([DEPARTED, {**ARRIVED, "dest": "HOU", "tailnum": None}])])
def test_the_latest_event_gives_the_whole_schedule(spark: SparkSession, events: tuple[dict[str, object], ...]) -> None:
    (row,) = rows_of(flights.function(frame(spark, EVENTS, events)))
    assert (row["dest"], row["tailnum"]) == ("HOU", None)


def test_ten_days_around_each_change_of_the_clock_equal_pandas_on_the_files(
    spark: SparkSession, catalog: Catalog, expected_flights: ModuleType, tmp_path: Path
) -> None:
    parse = catalog["silver.flight_events"].parse
    assert parse
    lines = [
        event.value
        for month in (3, 11)
        for event in replayed.events(datetime(2013, month, 1), datetime(2013, month, 14))
        if f"2013-{month:02}-01" <= event.key.decode()[:10] <= f"2013-{month:02}-10"
    ]
    (tmp_path / "events.json").write_bytes(b"\n".join(lines))
    events = spark.read.schema(parse.schema).json(str(tmp_path / "events.json"))
    assert_same_rows(flights.function(events), expected_flights.flights((3, 11), last_day=10))
