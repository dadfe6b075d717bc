"""Filters, rings and access of the push service, without a server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from itsdangerous import URLSafeTimedSerializer

from lakehouse.serving.push.access import Access, offered_token
from lakehouse.serving.push.filters import Filter, FilterError
from lakehouse.serving.push.pulse import Pulse
from lakehouse.serving.push.ring import Ring, read_position
from lakehouse.serving.push.stretch import COALESCE_ROWS, Arrival, Stretch, Wish

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
        found.append(Arrival(partition, offset, 1_000 + offset, 900_000 + offset, row, orjson.dumps(row), row["id"]))  # type: ignore[arg-type]
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
    assert [row["n"] for row in rows(ring.since(3))] == list(range(35, 45))
    assert rows(ring.since(ring.head)) == []


def test_a_position_continues_in_the_middle_of_a_batch() -> None:
    ring = filled()
    missed = ring.after("topic:0=28,1=0")
    assert missed is not None
    wish = Wish(Filter.read({"id": "k1"}), ("n",))
    assert rows(missed[0], wish) == [{"n": n} for n in range(28, 35) if n % 3 == 1]
    assert rows(ring.since(missed[1]), wish) == [{"n": n} for n in range(35, 45) if n % 3 == 1]
    message = missed[0].message(wish)
    assert message is not None
    assert orjson.loads(message.text)["position"] == "topic:0=35,1=0"
    between = ring.after("topic:0=35,1=0")
    assert between is not None
    assert (rows(between[0]), between[1]) == ([], 3)
    rest = ring.after(ring.position)
    assert rest is not None
    assert (rows(rest[0]), rest[1]) == ([], ring.head)


def test_who_wants_every_row_takes_one_batch_after_the_other() -> None:
    ring = filled()
    pieces = ring.each_since(ring.oldest)
    assert [[row["n"] for row in rows(piece)] for piece in pieces] == [list(range(25, 35)), list(range(35, 45))]
    many = Stretch(arrivals(range(COALESCE_ROWS + 1)), "topic:0=501")
    assert len(rows(many, Wish(every=True))) == COALESCE_ROWS + 1


@pytest.mark.parametrize("position", ["topic:0=24,1=0", "other:0=45,1=0", "topic:0=46,1=0", "topic:1=0", "topic:0=x", "", "\0"])
def test_a_position_that_is_not_here_is_a_gap(position: str) -> None:
    assert filled().after(position) is None


def test_equal_wishes_share_the_work_until_there_is_more() -> None:
    ring = filled()
    first, second = (ring.since(2).message(Wish(Filter.read({"id": ["k0"]}))) for _ in range(2))
    assert first is second
    assert ring.since(2).message(Wish()) != first
    before = ring.since(2)
    ring.add(arrivals(range(45, 46)), {0: 46})
    assert ring.since(2) is not before


@pytest.mark.parametrize(
    "conditions",
    [
        {"id": "k1"},
        {"id": ["k2", "k0", "other"]},
        {"id": ["k1", "k2"], "n": [3, 4, 5]},
        {"n": {"ge": 4, "lt": 8}},
        {"n": 1.0},
        {"n": True},
    ],
)
def test_looking_values_up_finds_what_comparing_finds_in_the_same_order(conditions: dict[str, Any]) -> None:
    some, wanted = arrivals(range(12)), Filter.read(conditions)
    assert rows(Stretch(some, ""), Wish(wanted)) == [x.row for x in some if wanted.matches(x.row)]


def test_a_long_message_is_cut_to_the_last_row_of_each_key() -> None:
    message = Stretch(arrivals(range(COALESCE_ROWS + 1)), "topic:0=501").message(Wish())
    assert message is not None
    found = orjson.loads(message.text)
    assert (message.gated_ms, message.sent_us) == (1_000, 900_000)
    assert [x["n"] for x in found["rows"]] == [COALESCE_ROWS - 2, COALESCE_ROWS - 1, COALESCE_ROWS]
    assert (found["coalesced"], found["gated_ms"], found["position"]) == (COALESCE_ROWS - 2, 1_000, "topic:0=501")


def rows(stretch: Stretch, wish: Wish | None = None) -> list[dict[str, Any]]:
    message = stretch.message(wish or Wish())
    found: list[dict[str, Any]] = orjson.loads(message.text)["rows"] if message else []
    return found


def test_a_pulse_wakes_all_at_once_and_misses_nobody() -> None:
    async def wait() -> tuple[list[int], int, float]:
        pulse, began = Pulse(0.05), time.monotonic()
        waiting = [asyncio.ensure_future(pulse.after(0)) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in range(5):
            pulse.ring()
        together = await asyncio.gather(*waiting)
        pulse.ring()
        second = await pulse.after(1)
        assert await pulse.after(0) == 2, "one who was busy meanwhile does not wait for the next time"
        return together, second, time.monotonic() - began

    together, second, passed = asyncio.run(wait())
    assert (together, second) == ([1, 1, 1], 2)
    assert passed >= 0.05


def test_a_pulse_rests_as_long_as_it_kept_the_loop_busy() -> None:
    async def wait() -> float:
        pulse = Pulse(0)

        async def serve() -> None:
            await pulse.after(0)
            time.sleep(0.1)

        serving = [asyncio.ensure_future(serve()) for _ in range(2)]
        await asyncio.sleep(0)
        began = time.monotonic()
        pulse.ring()
        await asyncio.gather(*serving)
        pulse.ring()
        await pulse.after(1)
        return time.monotonic() - began

    assert asyncio.run(wait()) >= 0.4  # twice a tenth of a second for each of two


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
