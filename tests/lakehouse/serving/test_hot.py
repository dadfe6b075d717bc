"""Queries over live tables, on a real PostgreSQL, with TimescaleDB and without."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from lakehouse.errors import QueryFailedError, QueryRefusedError
from lakehouse.livetables import LiveSpec
from lakehouse.serving.hot import HotSource, hot
from lakehouse.serving.pushdown import Condition
from lakehouse.serving.query import QueryResult, answer
from lakehouse.settings import Settings
from lakehouse.storage.hot import HotTable

pytestmark = pytest.mark.integration

START = datetime(2013, 6, 1, tzinfo=UTC)
COLUMNS = {"gauge": "text", "Level": "integer", "seen_at": "timestamptz", "more": "jsonb"}
ODD = "o'brien\"; DROP TABLE hot.x; -- %s $1 🌊"


@pytest.fixture(scope="module")
def name(hot_settings: Settings) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:8]}"
    spec = LiveSpec(name, ("gauge",), "seen_at", timedelta(days=1), timedelta(hours=1), {}, lambda: None, "")
    with psycopg.connect(hot_settings.require("postgres"), autocommit=True) as connection:
        table = HotTable(connection, spec, COLUMNS)
        table.prepare()
        rows: list[dict[str, Any]] = []
        for n in range(240):
            at = START + timedelta(minutes=n)
            origin = {"_topic_id": "t", "_partition": 0, "_offset": n, "_timestamp": at}
            rows.append({"gauge": ODD if n % 2 else "plain", "Level": n, "seen_at": at.isoformat(), "more": {"n": [n]}, **origin})
        table.land(rows)
        yield name
        connection.execute(f"DROP TABLE hot.{name}")


@pytest.fixture
def ask(hot_settings: Settings, name: str) -> Any:
    def run(sql: str) -> QueryResult:
        return answer(sql.replace("live.t", f"live.{name}"), [f"live.{name}"], hot(hot_settings))

    return run


def test_all_rows_can_be_read_some_at_a_time(hot_settings: Settings, name: str) -> None:
    source = HotSource(hot_settings.require("postgres"), name)
    batches = list(source.batches(["Level"]))
    assert sorted(x for batch in batches for x in batch.column("Level").to_pylist()) == list(range(240))
    assert source.types["seen_at"] == "timestamp with time zone"


def test_rows_types_and_no_versions(ask: Any) -> None:
    result = ask("SELECT * FROM live.t WHERE level = 7")
    assert result.columns[:4] == ("gauge", "Level", "seen_at", "more")
    assert result.types[:3] == ("VARCHAR", "INTEGER", "TIMESTAMP WITH TIME ZONE")
    assert result.rows()[0][:3] == (ODD, 7, START + timedelta(minutes=7))
    assert result.versions == {}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("level >= 230", 10),
        ("level IN (1, 2, 3, 999)", 3),
        ("level BETWEEN 10 AND 19 AND gauge = 'plain'", 5),
        ("seen_at >= '2013-06-01 03:00:00'", 60),
        ("seen_at < DATE '2013-06-01'", 0),
        ("seen_at >= TIMESTAMP '2013-06-01 03:59:00'", 1),
        ("gauge = 'o''brien\"; DROP TABLE hot.x; -- %s $1 🌊'", 120),
        ("level > 5 OR gauge = 'plain'", 237),
        ("level = 99999999999999999999", 0),
    ],
)
def test_conditions_give_what_duckdb_would(ask: Any, where: str, count: int) -> None:
    assert ask(f"SELECT count(*) FROM live.t WHERE {where}").rows() == [(count,)]


def test_conditions_are_worked_out_by_postgresql(hot_settings: Settings, name: str) -> None:
    source = HotSource(hot_settings.require("postgres"), name)
    some = source.scan(["Level"], [Condition("level", ">=", (("INTEGER", "238"),)), Condition("gauge", "=", (("STRING", ODD),))])
    assert some.column("Level").to_pylist() == [239]
    assert source.scan(["Level"], [Condition("nothing", "=", (("INTEGER", "1"),))]).num_rows == 240


def test_what_is_not_there_or_not_allowed_says_so(ask: Any, hot_settings: Settings, name: str) -> None:
    with pytest.raises(QueryFailedError, match=r"live\.nobody has no rows yet; `tidemill run --lane fast` writes it"):
        answer("FROM live.nobody", ["live.nobody"], hot(hot_settings))
    with pytest.raises(QueryRefusedError, match=r"There is no table hot\.clock"):
        ask("SELECT * FROM hot.clock")
    with pytest.raises(QueryRefusedError, match="Only one SELECT"):
        ask("DELETE FROM live.t")
    with pytest.raises(QueryFailedError, match="has no versions"):
        answer(f"FROM live.{name}", [f"live.{name}"], hot(hot_settings), versions={f"live.{name}": 3})
    with pytest.raises(QueryFailedError, match="does not answer"):
        answer(f"FROM live.{name}", [f"live.{name}"], lambda full, _: HotSource("postgresql://u:p@127.0.0.1:9/x", name))
