"""Filters, rings and access of the push service, without a server."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from itsdangerous import URLSafeTimedSerializer

from lakehouse.serving.push.access import Access, offered_token
from lakehouse.serving.push.filters import Filter, FilterError
from lakehouse.serving.push.ring import Arrival, Ring, Wish, read_position

ROW = {"carrier": "UA", "delay": 15, "late": True, "ratio": 0.5, "gone": None}


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({}, True),
        ({"carrier": "UA"}, True),
        ({"carrier": ["AA", "UA"], "delay": {"ge": 15, "lt": 16}}, True),
        ({"carrier": ["AA", "UA"], "delay": {"ge": 15, "lt": 15}}, False),
        ({"carrier": "ua"}, False),
        ({"carrier": ["UA"], "delay": 16}, False),
        ({"delay": 15.0}, True),
        ({"delay": "15"}, False),
        ({"late": True}, True),
        ({"late": 1}, False),
        ({"delay": {"gt": "1"}}, False),
        ({"late": {"ge": 0}}, False),
        ({"ratio": {"eq": 0.5}}, True),
        ({"gone": {"lt": 1}}, False),
        ({"gone": "x"}, False),
        ({"nowhere": "x"}, False),
    ],
)
def test_all_conditions_hold_and_types_are_those_of_json(conditions: dict[str, Any], holds: bool) -> None:
    assert Filter.read(conditions).matches(ROW) is holds


@pytest.mark.parametrize(
    "odd", [[], "x", None, {"a": None}, {"a": []}, {"a": [[1]]}, {"a": {"like": "x"}}, {"a": {"lt": None}}, {"a": ["x"] * 1_001}]
)
def test_a_filter_that_means_nothing_is_refused(odd: Any) -> None:
    with pytest.raises(FilterError):
        Filter.read(odd)


def test_filters_that_say_the_same_are_the_same() -> None:
    first, second = (
        Filter.read({"a": ["x", "y"], "b": {"lt": 1, "ge": 0}}),
        Filter.read({"b": {"ge": 0, "lt": 1}, "a": ["y", "x"]}),
    )
    assert first == second
    assert hash(first) == hash(second)


def arrivals(offsets: range, partition: int = 0) -> list[Arrival]:
    found = []
    for offset in offsets:
        row = {"id": f"k{offset % 3}", "n": offset}
        found.append(Arrival(partition, offset, 1_000 + offset, None, row, orjson.dumps(row), row["id"]))  # type: ignore[arg-type]
    return found


def filled(capacity: int = 20) -> Ring:
    ring = Ring("topic", capacity, {0: 5, 1: 0})
    for start in range(5, 45, 10):
        ring.add(arrivals(range(start, start + 10)), {0: start + 10})
    return ring


def test_a_ring_keeps_its_last_rows() -> None:
    ring = filled()
    assert [x.offset for x in ring.arrivals()] == list(range(25, 45))
    assert (ring.oldest, ring.head, ring.position) == (2, 4, "topic:0=45,1=0")
    assert [batch.number for batch in ring.since(3)] == [3]
    assert ring.since(ring.head) == []


def test_a_position_continues_in_the_middle_of_a_batch() -> None:
    ring = filled()
    missed = ring.after("topic:0=28,1=0")
    assert missed is not None
    rows = [row for batch in missed for row in batch.wanted(Wish(Filter.read({"id": "k1"}), ("n",)))]
    assert [orjson.loads(row.text) for row in rows] == [{"n": n} for n in range(28, 45) if n % 3 == 1]
    assert ring.after(ring.position) == []


@pytest.mark.parametrize("position", ["topic:0=24,1=0", "other:0=45,1=0", "topic:0=46,1=0", "topic:1=0", "topic:0=x", "", "\0"])
def test_a_position_that_is_not_here_is_a_gap(position: str) -> None:
    assert filled().after(position) is None


def test_equal_wishes_share_the_work() -> None:
    (batch, *_) = filled().since(2)
    first, second = (batch.wanted(Wish(Filter.read({"id": ["k0"]}))) for _ in range(2))
    assert first is second
    assert batch.wanted(Wish()) != first


def test_what_is_no_position_is_one_of_no_topic() -> None:
    assert read_position("t:0=1,1=2") == ("t", {0: 1, 1: 2})
    assert read_position("t:0=1=2") == ("", {})


def test_the_token_and_fresh_tickets_let_in() -> None:
    access = Access("secret", ["https://board.example/"])
    assert access.admits("secret")
    assert access.admits(access.ticket())
    for odd in (
        None,
        "",
        "Secret",
        Access("other").ticket(),
        access.ticket() + "x",
        "ü",
        URLSafeTimedSerializer("secret").dumps("live"),
    ):
        assert not access.admits(odd)


def test_a_ticket_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access("secret")
    ticket = access.ticket()
    monkeypatch.setattr("lakehouse.serving.push.access.TICKET_SECONDS", -1)
    assert not access.admits(ticket)


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (None, True),
        ("http://localhost:5006", True),
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("https://board.example", True),
        ("https://board.example.evil", False),
        ("http://localhost.evil", False),
        ("null", False),
        ("http://[::1", False),
    ],
)
def test_pages_of_elsewhere_are_not_welcome(origin: str | None, welcome: bool) -> None:
    assert Access("secret", ["https://board.example/"]).welcomes(origin) is welcome


def test_a_token_comes_in_a_header_or_as_a_subprotocol() -> None:
    assert offered_token({"authorization": "bearer abc"}, []) == "abc"
    assert offered_token({}, ["tidemill.v1", "bearer.abc"]) == "abc"
    assert offered_token({"authorization": "Basic abc"}, ["tidemill.v1"]) is None
