from __future__ import annotations

from collections import Counter
from datetime import datetime

import orjson
import pytest

from lakehouse.replay import bookings
from lakehouse.sources.replay import Event


@pytest.fixture(scope="module")
def year() -> list[Event]:
    return list(bookings.events())


def test_each_booking_is_published_once_in_order_and_before_its_flight(year: list[Event]) -> None:
    order = [(x.timestamp_ms, x.key) for x in year]
    assert len({x.key for x in year}) == len(order) == 33_971
    assert order == sorted(order)
    for event in year[:1_000]:
        booking = orjson.loads(event.value or b"")
        booked = datetime.fromisoformat(booking["booked_at"])
        assert 500 <= event.timestamp_ms - booked.timestamp() * 1000 < 5_000
        assert booked.date().isoformat() <= booking["flight_id"][:10] or booked.hour < 6  # UTC is ahead of New York


def test_a_passenger_is_one_person_of_one_airline(year: list[Event]) -> None:
    rows = [orjson.loads(x.value or b"") for x in year]
    persons = {(x["email"], x["passenger"], x["document"], x["carrier"]) for x in rows}
    assert len(persons) == len({x["email"] for x in rows}) == 5_642
    assert all(x["email"].rpartition("@")[2] in ("example.com", "example.org", "example.net") for x in rows)
    assert 5 < Counter(x["email"] for x in rows).most_common()[len(persons) // 2][1] < 8


def test_a_part_of_the_year_is_the_same_as_in_the_whole(year: list[Event]) -> None:
    start, end = datetime(2013, 3, 1), datetime(2013, 3, 3)
    part = [x for x in year if start.timestamp() * 1000 <= x.timestamp_ms < end.timestamp() * 1000]
    assert list(bookings.events(start, end)) == part != []
