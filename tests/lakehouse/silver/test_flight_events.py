from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from lakehouse.catalog import Catalog
from lakehouse.replay import flights

GOOD = {
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


def test_a_week_of_real_events_passes_at_once(ingest: Callable[..., list[dict[str, Any]]], catalog: Catalog) -> None:
    """None is a suspect: the parser's fast path proves each one readable."""
    rows = ingest("flights", (x.value for x in flights.events(datetime(2013, 2, 8), datetime(2013, 2, 15))))
    assert len(rows) > 10_000
    assert not [x for x in rows if x["suspect"] or x["reasons"]]
    keys = Counter(tuple(x[k] for k in catalog.ingest("flights").keys) for x in rows)
    assert set(keys.values()) == {1}
    assert {x["event"] for x in rows} == {"departed", "arrived", "cancelled"}
    warned = {reason for x in rows for reason in x["warnings"] or []}
    assert warned == {"expect_column_values_to_not_be_null(tailnum)", "expect_column_values_to_not_be_null(delay)#2"}


def test_the_fields_become_typed_columns(ingest: Callable[..., list[dict[str, Any]]]) -> None:
    (row,) = ingest("flights", [orjson.dumps(GOOD)])
    moments = {
        name: datetime.fromisoformat(str(GOOD[name])) for name in ("event_time", "scheduled_departure", "scheduled_arrival")
    }
    assert row == {**GOOD, **moments, "air_time": None, "suspect": False, "reasons": None, "warnings": None}
    assert row["event_time"].tzinfo is UTC or row["event_time"].utcoffset().total_seconds() == 0


BAD: list[tuple[dict[str, object], str]] = [
    ({"flight_id": None}, "values_to_not_be_null(flight_id)"),
    ({"event_time": None}, "values_to_not_be_null(event_time)"),
    ({"scheduled_departure": None}, "values_to_not_be_null(scheduled_departure)"),
    ({"delay": None}, "values_to_not_be_null(delay)"),
    ({"event": "landed"}, "values_to_be_in_set(event)"),
    ({"flight_id": "UA 1545"}, "values_to_match_regex(flight_id)"),
    ({"carrier": "United"}, "values_to_match_regex(carrier)"),
    ({"origin": "ewr"}, "values_to_match_regex(origin)"),
    ({"dest": ""}, "values_to_match_regex(dest)"),
    ({"delay": 2881}, "values_to_be_between(delay)"),
    ({"delay": -241}, "values_to_be_between(delay)"),
    ({"distance": 0}, "values_to_be_between(distance)"),
    ({"air_time": 1501}, "values_to_be_between(air_time)"),
    ({"scheduled_arrival": "2013-01-01T10:15:00Z"}, "pair_values_a_to_be_greater_than_b(scheduled_arrival,scheduled_departure)"),
]


def test_a_bad_event_is_dropped_with_its_one_reason(ingest: Callable[..., list[dict[str, Any]]]) -> None:
    rows = ingest("flights", (orjson.dumps({**GOOD, **change}) for change, _ in BAD))
    found = [x["reasons"] for x in rows]
    assert [len(x or ()) for x in found] == [1] * len(BAD), found
    assert [x[0].removeprefix("expect_column_") for x in found] == [rule for _, rule in BAD]


def test_only_a_departure_needs_a_delay(ingest: Callable[..., list[dict[str, Any]]]) -> None:
    events = [orjson.dumps({**GOOD, "event": kind, "delay": None}) for kind in ("cancelled", "arrived")]
    assert [x["reasons"] for x in ingest("flights", events)] == [None, None]
