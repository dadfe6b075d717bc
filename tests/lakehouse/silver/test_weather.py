from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pandas as pd

from lakehouse.replay import weather
from lakehouse.testing import assert_same_rows


def test_the_year_equals_pandas_on_the_file_but_for_one_impossible_wind(
    ingest: Callable[..., list[dict[str, Any]]], expected_flights: ModuleType
) -> None:
    rows = ingest("weather", (x.value for x in weather.events()))
    assert not [x for x in rows if x["suspect"]]
    (bad,) = [x for x in rows if x["reasons"]]
    assert (bad["origin"], bad["observed_at"]) == ("EWR", datetime(2013, 2, 12, 8, tzinfo=UTC))
    assert bad["wind_speed"] > 1_000
    assert bad["reasons"] == ["expect_column_values_to_be_between(wind_speed)"]
    verdicts = ["suspect", "reasons", "warnings"]
    assert_same_rows(pd.DataFrame([x for x in rows if not x["reasons"]]).drop(columns=verdicts), expected_flights.weather())
