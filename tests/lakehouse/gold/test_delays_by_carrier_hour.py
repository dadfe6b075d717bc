from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from pyspark.sql import DataFrame

from lakehouse.gold.delays_by_carrier_hour import delays_by_carrier_hour
from lakehouse.testing import assert_same_rows, rows_of


def test_a_month_equals_pandas_on_the_files(march: dict[str, DataFrame], expected_flights: ModuleType) -> None:
    actual = delays_by_carrier_hour.function(march["flights"])
    assert_same_rows(actual, expected_flights.delays_by_carrier_hour((3,)))


def test_a_flight_is_on_time_below_fifteen_minutes(some_flights: Callable[..., DataFrame]) -> None:
    (row,) = rows_of(delays_by_carrier_hour.function(some_flights({"arrived": 14}, {"arrived": 15}, {"arrived": None})))
    assert (row["flights"], row["departed"], row["arrived"]) == (3, 3, 2)
    assert row["on_time_share"] == 0.5
    assert (row["arrival_delay_minutes"], row["mean_arrival_delay"]) == (29, 14.5)


def test_an_hour_of_cancellations_has_no_means(some_flights: Callable[..., DataFrame]) -> None:
    (row,) = rows_of(delays_by_carrier_hour.function(some_flights({"late": None}, {"late": None})))
    assert (row["flights"], row["departed"], row["cancelled"]) == (2, 0, 2)
    assert [row[x] for x in ("departure_delay_minutes", "mean_departure_delay", "mean_arrival_delay", "on_time_share")] == [
        None
    ] * 4


def test_the_hour_is_that_of_the_schedule(some_flights: Callable[..., DataFrame]) -> None:
    late = some_flights({"at": "2013-03-01T10:59:00Z", "late": 90}, {"at": "2013-03-01T11:00:00Z"})
    assert sorted(x["hour"].hour for x in rows_of(delays_by_carrier_hour.function(late))) == [10, 11]
