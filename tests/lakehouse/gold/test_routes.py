from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from pyspark.sql import DataFrame, SparkSession

from lakehouse.gold.routes import routes
from lakehouse.testing import assert_same_rows, frame, rows_of


def test_a_month_equals_pandas_on_the_files(
    march: dict[str, DataFrame], references: dict[str, DataFrame], expected_flights: ModuleType
) -> None:
    actual = routes.function(march["flights"], references["airports"])
    assert_same_rows(actual, expected_flights.routes((3,)))


def test_airlines_are_counted_once_and_an_unknown_airport_has_no_name(
    spark: SparkSession, some_flights: Callable[..., DataFrame]
) -> None:
    airports = frame(spark, "faa STRING, name STRING, lat DOUBLE, lon DOUBLE", [("EWR", "Newark Liberty Intl", 40.7, -74.2)])
    flights = some_flights({}, {}, {"carrier": "B6"})
    (row,) = rows_of(routes.function(flights, airports))
    assert (row["flights"], row["airlines"], row["distance"]) == (3, 2, 1400)
    assert (row["origin_name"], row["origin_lat"], row["dest_name"], row["dest_lat"]) == ("Newark Liberty Intl", 40.7, None, None)
