from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from pyspark.sql import DataFrame, SparkSession

from lakehouse.gold.carrier_month import carrier_month
from lakehouse.testing import assert_same_rows, frame, rows_of


def test_a_month_equals_pandas_on_the_files(
    march: dict[str, DataFrame], references: dict[str, DataFrame], expected_flights: ModuleType
) -> None:
    actual = carrier_month.function(march["flights"], references["airlines"])
    assert_same_rows(actual, expected_flights.carrier_month((3,)))


def test_months_are_utc_and_an_unknown_carrier_has_no_name(spark: SparkSession, some_flights: Callable[..., DataFrame]) -> None:
    airlines = frame(spark, "carrier STRING, name STRING", [("UA", "United Air Lines Inc.")])
    flights = some_flights({"at": "2013-03-31T23:59:00Z"}, {"at": "2013-04-01T00:00:00Z"}, {"carrier": "ZZ", "distance": 7})
    rows = {
        (x["carrier"], x["month"].month): (x["carrier_name"], x["scheduled_miles"])
        for x in rows_of(carrier_month.function(flights, airlines))
    }
    assert rows == {
        ("UA", 3): ("United Air Lines Inc.", 1400),
        ("UA", 4): ("United Air Lines Inc.", 1400),
        ("ZZ", 3): (None, 7),
    }
