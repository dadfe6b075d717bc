"""Windows on a real PostgreSQL: the later row of a window stays, whatever comes again or late."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from lakehouse.livetables import LiveSpec, WindowSpec
from lakehouse.settings import Settings
from lakehouse.storage.windows import WindowTable
from lakehouse.windows import Windows
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

START = datetime(2013, 6, 1, tzinfo=UTC)
COLUMNS = {
    "span": "text",
    "window_start": "timestamptz",
    "window_end": "timestamptz",
    "gauge": "text",
    "n": "bigint",
    "last_event": "timestamptz",
    "computed_at": "timestamptz",
}


@pytest.fixture
def connection(stack: tuple[Workspace, Settings]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack[1].require("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def make(connection: psycopg.Connection[Any]) -> Iterator[Callable[..., WindowTable]]:
    name = f"t{uuid.uuid4().hex[:8]}"

    def table(*by: str) -> WindowTable:
        windows = Windows(by=by or ["gauge"], spans=["1 minute"], measures={"n": "count(*)"})
        one = timedelta(hours=1)
        spec = WindowSpec.of(LiveSpec(name, ("gauge",), "at", 6 * one, one, {}, lambda: None, "", windows))
        made = WindowTable(connection, spec, COLUMNS | dict.fromkeys(by, "text"))
        made.prepare()
        return made

    yield table
    connection.execute(f"DROP TABLE IF EXISTS hot.{name}_windows")
    connection.execute("DELETE FROM hot.clock WHERE feed = %s", [f"{name}_windows"])


def row(records: int, minute: int = 0, counting: str = "c1", computed: int = 0, gauge: str | None = "g", **more: Any) -> Any:
    start = START + timedelta(minutes=minute)
    own = {"span": "1 minute", "window_start": f"{start:%FT%TZ}", "window_end": f"{start + timedelta(minutes=1):%FT%TZ}"}
    at = {"computed_at": f"2026-01-01T00:00:{computed:02}Z", "_timestamp": start + timedelta(seconds=records)}
    origin = {"_topic_id": counting, "_partition": 0, "_offset": records}
    return {**own, "gauge": gauge, "n": records, **at, **origin, **more}


def held(table: WindowTable, connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    name = table._table.as_string(None)
    found = connection.execute(f"SELECT gauge, extract(minute FROM window_start)::int, n, _topic_id FROM {name}".encode())
    return sorted(found.fetchall(), key=str)


def test_a_window_that_has_grown_replaces_itself_and_nothing_else_does(
    make: Callable[..., WindowTable], connection: psycopg.Connection[Any]
) -> None:
    table = make()
    assert table.land([row(1), row(3), row(2), row(5, minute=1), row(7, gauge=None)]).written == 3
    assert held(table, connection) == [("g", 0, 3, "c1"), ("g", 1, 5, "c1"), (None, 0, 7, "c1")]
    assert table.land([row(2), row(3), row(5, minute=1), row(7, gauge=None)]).written == 0  # as after a crash, of driver or sink
    assert make().land([row(4), row(8, gauge=None)]).written == 2
    assert held(table, connection) == [("g", 0, 4, "c1"), ("g", 1, 5, "c1"), (None, 0, 8, "c1")]
    assert [(x["gauge"], x["n"]) for x in table.latest()] == [("g", 5), (None, 8)]


def test_another_counting_takes_the_place_of_the_one_before(
    make: Callable[..., WindowTable], connection: psycopg.Connection[Any]
) -> None:
    table = make()
    table.land([row(9), row(9, minute=1), row(9, minute=2, gauge="gone")])
    table.land([row(9, minute=1, computed=1), row(1, counting="c2", computed=5)])
    assert held(table, connection) == [("g", 0, 1, "c2")]
    table.land([row(10, computed=2), row(2, counting="c2", computed=6)])  # what the other one had said comes again
    table.land([row(11, computed=3)])
    make().land([row(11, computed=4), row(11, minute=5, computed=4)])
    table.land([{**row(12, minute=6), "computed_at": odd} for odd in ("never", None)])
    assert held(table, connection) == [("g", 0, 2, "c2")]


def test_windows_go_when_the_feed_clock_has_left_them_behind(
    make: Callable[..., WindowTable], connection: psycopg.Connection[Any]
) -> None:
    table = make()
    table.land([row(1, minute=n) for n in range(3)])
    assert table.land([row(1, minute=361)]).written == 1
    assert [minute for _, minute, *_ in held(table, connection)] == [1, 1, 2]  # one of them is minute 361
    assert table.land([row(2)]).expired == 1
    assert table.partitions() == []


def test_other_groups_begin_anew(make: Callable[..., WindowTable], connection: psycopg.Connection[Any]) -> None:
    make().land([row(3)])
    other = make("gauge", "coast")
    assert held(other, connection) == []
    other.land([row(1, coast="west"), row(2, coast="east")])
    assert [n for _, _, n, _ in held(other, connection)] == [1, 2]


def test_what_postgresql_refuses_is_put_aside(make: Callable[..., WindowTable], connection: psycopg.Connection[Any]) -> None:
    landed = make().land([row(1), row(2, minute=1, last_event="12013-01-01T00:00:00Z"), row(3, minute=2, n=2**63)])
    assert landed.written == 2
    assert [refused["_offset"] for refused in landed.refused] == [3]
