from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from pyspark.sql import DataFrame, SparkSession

from lakehouse.gold.airport_hour_weather import airport_hour_weather
from lakehouse.testing import assert_same_rows, frame, rows_of


def test_a_month_equals_pandas_on_the_files(march: dict[str, DataFrame], expected_flights: ModuleType) -> None:
    actual = airport_hour_weather.function(march["flights"], march["weather"])
    assert_same_rows(actual, expected_flights.airport_hour_weather((3,)))


WEATHER = """
    origin STRING, observed_at TIMESTAMP, temp DOUBLE, dewp DOUBLE, humid DOUBLE, wind_dir DOUBLE, wind_speed DOUBLE,
    wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE
"""


def test_an_hour_without_observation_stays(spark: SparkSession, some_flights: Callable[..., DataFrame]) -> None:
    weather = frame(spark, WEATHER, [{"origin": "EWR", "observed_at": "2013-03-01T10:00:00Z", "temp": 39.0}])
    flights = some_flights({"late": 5}, {"at": "2013-03-01T11:15:00Z"}, {"origin": "JFK"})
    rows = {(x["origin"], x["hour"].hour): x["temp"] for x in rows_of(airport_hour_weather.function(flights, weather))}
    assert rows == {("EWR", 10): 39.0, ("EWR", 11): None, ("JFK", 10): None}
