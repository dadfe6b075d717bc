"""The hot store on a real PostgreSQL, with TimescaleDB and without: rows once, windows that go whole, what PostgreSQL refuses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from lakehouse.livetables import LiveSpec
from lakehouse.settings import Settings
from lakehouse.storage.hot import ORIGIN, SCHEMA, HotTable, column_type

pytestmark = pytest.mark.integration

START = datetime(2013, 6, 1, tzinfo=UTC)
COLUMNS = {"gauge": "text", "level": "integer", "at": "timestamptz"}


@pytest.fixture
def connection(hot_settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(hot_settings.require("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def spec() -> LiveSpec:
    return LiveSpec(
        name=f"t{uuid.uuid4().hex[:8]}",
        keys=("gauge",),
        sequence_by="at",
        retention=timedelta(hours=6),
        window=timedelta(hours=1),
        inputs={},
        function=lambda: None,
        description="",
    )


@pytest.fixture
def make(connection: psycopg.Connection[Any], spec: LiveSpec) -> Iterator[Callable[[], HotTable]]:
    def table() -> HotTable:
        made = HotTable(connection, spec, COLUMNS)
        made.prepare()
        return made

    yield table
    connection.execute(f"DROP TABLE IF EXISTS hot.{spec.name}")
    for name in ("clock", "refused"):
        connection.execute(f"DELETE FROM hot.{name} WHERE feed = %s", [spec.name])


def row(offset: int, hours: float = 0, **more: Any) -> dict[str, Any]:
    at = START + timedelta(hours=hours)
    position = {"_topic_id": "t", "_partition": 0, "_offset": offset, "_timestamp": at}
    return {"gauge": "g1", "level": offset, "at": at.isoformat(), **position, **more}


def count(connection: psycopg.Connection[Any], spec: LiveSpec) -> int:
    found = connection.execute(f"SELECT count(*) FROM hot.{spec.name}").fetchone()
    assert found is not None
    return int(found[0])


def is_partitioned(connection: psycopg.Connection[Any], spec: LiveSpec) -> bool:
    found = connection.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", [f"hot.{spec.name}"]).fetchone()
    assert found is not None
    return bool(found[0])


def test_a_record_is_there_once_however_often_it_comes(
    make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec
) -> None:
    table = make()
    first = table.land([row(n) for n in range(10)])
    again = table.land([row(n) for n in range(5, 15)])
    within = table.land([row(20), row(20)])
    assert (first.written, first.known) == (10, 0)
    assert (again.written, again.known) == (5, 5)
    assert (within.written, within.known) == (1, 1)
    assert count(connection, spec) == 16
    assert make().clock == START  # what another process would begin with


def test_windows_follow_the_feed_clock_and_go_whole(
    make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec, hot_kind: str
) -> None:
    table = make()
    table.land([row(n, hours=n) for n in range(4)])
    ahead = hot_kind == "partitions"  # TimescaleDB makes a chunk with its first row
    assert table.partitions() == [START + timedelta(hours=n) for n in range(4 + ahead)]
    assert is_partitioned(connection, spec) == (hot_kind == "partitions")
    landed = table.land([row(100, hours=9.5)])
    assert table.partitions()[0] == START + timedelta(hours=3)  # 03:00 to 04:00 holds what is six hours old
    late = table.land([row(101, hours=1), row(102, hours=9)])
    assert (landed.written, late.written, late.expired) == (1, 1, 1)
    assert count(connection, spec) == 3


def test_a_table_stays_as_it_was_made(make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec) -> None:
    connection.execute(SCHEMA)
    columns = ", ".join(f"{name} {kind}" for name, kind in ORIGIN.items())
    connection.execute(
        f"CREATE TABLE hot.{spec.name} ({columns}, PRIMARY KEY (_timestamp, _topic_id, _partition, _offset)) "
        "PARTITION BY RANGE (_timestamp)"
    )
    table = make()
    assert table.land([row(n, hours=n) for n in range(10)]).written == 7
    assert table.partitions() == [START + timedelta(hours=n) for n in range(3, 11)]
    assert is_partitioned(connection, spec)


@pytest.mark.parametrize("minutes", [20, 45, 90, 600])
@pytest.mark.parametrize("hot_kind", ["partitions"], indirect=True, scope="session")
def test_a_changed_window_holds_for_partitions_to_come(
    minutes: int, make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec
) -> None:
    make().land([row(0), row(1, hours=2)])
    other = HotTable(connection, replace(spec, window=timedelta(minutes=minutes)), COLUMNS)
    other.prepare()
    assert other.land([row(n, hours=n / 2) for n in range(2, 12)]).written == 10
    assert count(connection, spec) == 12
    assert make().land([row(n, hours=n / 2) for n in range(12, 30)]).written > 0
    horizon = START + timedelta(hours=14.5 - 6)
    recent = connection.execute(f"SELECT count(*) FROM hot.{spec.name} WHERE _timestamp >= %s", [horizon]).fetchone()
    assert recent == (13,)
    assert count(connection, spec) < 30
    assert make().partitions()[0] <= horizon


@pytest.mark.parametrize("hot_kind", ["hypertable"], indirect=True, scope="session")
def test_a_changed_window_holds_for_chunks_to_come(
    make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec
) -> None:
    make().land([row(n, hours=n) for n in range(4)])
    wider = HotTable(connection, replace(spec, window=timedelta(hours=2)), COLUMNS)
    wider.prepare()
    assert wider.land([row(n, hours=n) for n in range(9)]).written == 5
    assert wider.partitions() == [START + timedelta(hours=n) for n in (2, 3, 4, 6, 8)]


def test_a_record_from_the_future_does_not_expire_the_present(make: Callable[[], HotTable]) -> None:
    table = make()
    now = START + timedelta(minutes=5)
    landed = table.land([row(1), row(2, hours=24 * 365)], now=now)
    assert (landed.written, landed.expired) == (2, 0)
    assert table.clock == now


def test_what_postgresql_refuses_is_put_aside_and_the_rest_lands(
    make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec
) -> None:
    rows = [row(n) for n in range(50)]
    rows[17] |= {"at": "+294277-01-01T00:00:00Z"}
    rows[18] |= {"gauge": "nul\0byte 🌊"}
    landed = make().land(rows)
    assert (landed.written, len(landed.refused)) == (49, 1)
    assert make().land(rows).known == 49
    refused = connection.execute('SELECT "offset", reason FROM hot.refused WHERE feed = %s', [spec.name]).fetchall()
    assert [x[0] for x in refused] == [17]
    assert "294277" in refused[0][1]
    kept = connection.execute(f"SELECT gauge FROM hot.{spec.name} WHERE _offset = 18").fetchone()
    assert kept == ("nul\N{REPLACEMENT CHARACTER}byte 🌊",)


def test_two_writers_share_a_table(
    make: Callable[[], HotTable], spec: LiveSpec, hot_settings: Settings, connection: psycopg.Connection[Any]
) -> None:
    behind = make()
    behind.land([row(1, hours=0)])
    with psycopg.connect(hot_settings.require("postgres"), autocommit=True) as other:
        ahead = HotTable(other, spec, COLUMNS)
        ahead.prepare()
        ahead.land([row(2, hours=20)])  # drops the window that the first writer knows
        landed = behind.land([row(3, hours=0), row(4, hours=20)])
    assert (landed.written, landed.expired) == (1, 1)
    assert count(connection, spec) == 2


def test_a_new_column_is_added_and_the_last_row_of_a_key_found(
    make: Callable[[], HotTable], connection: psycopg.Connection[Any], spec: LiveSpec
) -> None:
    make().land([row(1), row(2, hours=1), row(3, hours=0.5), row(4, gauge="g2")])
    wider = HotTable(connection, spec, {**COLUMNS, "colour": "text"})
    wider.prepare()
    wider.land([row(5, hours=2, colour="blue")])
    found = [(x["gauge"], x["_offset"], x["colour"], x["_timestamp"]) for x in wider.latest()]
    assert found == [("g1", 5, "blue", START + timedelta(hours=2)), ("g2", 4, None, START)]


@pytest.mark.parametrize(
    ("spark", "postgres"),
    [("string", "text"), ("decimal(10,2)", "numeric(10,2)"), ("timestamp", "timestamptz"), ("array<int>", "jsonb")],
)
def test_types(spark: str, postgres: str) -> None:
    assert column_type(spark) == postgres
