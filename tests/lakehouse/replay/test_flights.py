from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import orjson
import pytest

from lakehouse.replay import flights
from lakehouse.sources.replay import Event


@pytest.fixture(scope="module")
def year() -> list[Event]:
    return list(flights.events())


def test_every_flight_gives_its_events(year: list[Event]) -> None:
    """336,776 flights: 8,255 cancelled, 458 departed and never arrived."""
    kinds = Counter(orjson.loads(x.value)["event"] for x in year)
    assert kinds == {"departed": 336_776 - 8_255, "cancelled": 8_255, "arrived": 336_776 - 8_255 - 458}
    assert len({x.key for x in year}) == 336_776


def test_the_order_is_strict_so_that_a_replay_can_resume(year: list[Event]) -> None:
    order = [(x.timestamp_ms, x.key) for x in year]
    assert all(before < after for before, after in pairwise(order))


def test_an_event_is_published_within_two_minutes(year: list[Event]) -> None:
    for event in year[::1000]:
        happened = datetime.fromisoformat(orjson.loads(event.value)["event_time"])
        assert 500 <= event.timestamp_ms - happened.timestamp() * 1000 < 120_000


def test_the_first_event_is_the_first_flight(year: list[Event]) -> None:
    assert year[0].key == b"2013-01-01-UA-1545-EWR"
    assert orjson.loads(year[0].value) == {
        "flight_id": "2013-01-01-UA-1545-EWR",
        "event": "departed",
        "event_time": "2013-01-01T10:17:00Z",
        "carrier": "UA",
        "flight": 1545,
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "scheduled_departure": "2013-01-01T10:15:00Z",
        "scheduled_arrival": "2013-01-01T14:19:00Z",
        "distance": 1400,
        "delay": 2,
    }


def test_an_arrival_is_on_the_clock_of_its_destination(year: list[Event]) -> None:
    arrived = _find(year, "2013-01-01-UA-1545-EWR", "arrived")  # 8:30 in Houston, 11 minutes late
    assert (arrived["event_time"], arrived["delay"], arrived["air_time"]) == ("2013-01-01T14:30:00Z", 11, 227)


def test_a_diverted_flight_arrives_without_delay(year: list[Event]) -> None:
    arrived = _find(year, "2013-01-01-9E-3325-JFK", "arrived")  # 0:29 in Dallas, due 21:51
    assert arrived["event_time"] == "2013-01-02T06:29:00Z"
    assert not {"delay", "air_time"} & set(arrived)


def test_a_cancelled_flight_is_known_at_its_schedule(year: list[Event]) -> None:
    cancelled = _find(year, "2013-01-01-EV-4308-EWR", "cancelled")
    assert cancelled["event_time"] == cancelled["scheduled_departure"] == "2013-01-01T21:30:00Z"
    assert "delay" not in cancelled


def test_any_span_is_a_part_of_the_year(year: list[Event]) -> None:
    start, end = datetime(2013, 3, 5), datetime(2013, 4, 9, 12)
    low, high = (x.replace(tzinfo=UTC).timestamp() * 1000 for x in (start, end))
    assert list(flights.events(start, end)) == [x for x in year if low <= x.timestamp_ms < high]


def test_a_moment_with_a_zone_means_that_moment() -> None:
    tokyo = timezone(timedelta(hours=9))
    here = flights.events(datetime(2013, 7, 1), datetime(2013, 7, 1, 3))
    there = flights.events(datetime(2013, 7, 1, 9, tzinfo=tokyo), datetime(2013, 7, 1, 12, tzinfo=tokyo))
    assert list(here) == list(there) != []


@pytest.mark.parametrize("end", [datetime(2012, 1, 1), datetime(2013, 1, 1)])
def test_before_the_data_there_is_nothing(end: datetime) -> None:
    assert list(flights.events(None, end)) == []


def test_after_the_data_there_is_nothing() -> None:
    assert list(flights.events(datetime(2014, 2, 1))) == []


def _find(year: list[Event], flight_id: str, kind: str) -> dict[str, object]:
    (found,) = [x for e in year if e.key == flight_id.encode() and (x := orjson.loads(e.value or b""))["event"] == kind]
    return dict(found)
