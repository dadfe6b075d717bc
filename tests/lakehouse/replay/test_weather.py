from __future__ import annotations

from datetime import datetime

import orjson

from lakehouse.replay import weather


def test_every_observation_is_published_once_and_in_order() -> None:
    year = list(weather.events())
    order = [(x.timestamp_ms, x.key) for x in year]
    assert len(set(order)) == len(order) == 26_115
    assert order == sorted(order)
    assert {x.key for x in year} == {b"EWR", b"JFK", b"LGA"}


def test_an_observation_comes_one_to_ten_minutes_after_the_hour() -> None:
    for event in weather.events(datetime(2013, 3, 1), datetime(2013, 3, 8)):
        observed = datetime.fromisoformat(orjson.loads(event.value)["observed_at"])
        assert 60_000 <= event.timestamp_ms - observed.timestamp() * 1000 < 600_000


def test_a_missing_value_is_left_out_and_the_rest_is_as_recorded() -> None:
    first = next(x for x in weather.events() if x.key == b"EWR")
    assert orjson.loads(first.value) == {
        "origin": "EWR",
        "observed_at": "2013-01-01T06:00:00Z",
        "temp": 39.02,
        "dewp": 26.06,
        "humid": 59.37,
        "wind_dir": 270.0,
        "wind_speed": 10.35702,
        "precip": 0.0,
        "pressure": 1012.0,
        "visib": 10.0,
    }
