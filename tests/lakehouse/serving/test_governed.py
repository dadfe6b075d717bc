"""What a user gets is what an administrator would get of a copy that holds only what the user may see."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from asking import SECRET, Generator
from deltalake import write_deltalake

from lakehouse.errors import AccessDeniedError, QueryFailedError, QueryRefusedError, TidemillError
from lakehouse.security.policy import Policy
from lakehouse.security.users import User
from lakehouse.serving.governed import govern
from lakehouse.serving.held import Holding
from lakehouse.serving.masks import tenant_key
from lakehouse.serving.query import QueryResult, answer
from lakehouse.serving.tables import DeltaSource, GuardedSource, Location, Recent, lake

MASTER = b"m" * 32
START = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = 1_500
ADA = User("ada", "united", ("analyst",), {"carriers": ("UA", "é✈"), "seats": (2,)})
POLICY_TEXT = """
roles:
  analyst:
    - tables: [silver.flights]
      columns: [id, carrier, tail, Delay, hour, day, legs, number, note, fare]
      rows:
        - {column: carrier, in: {claim: carriers}}
        - {column: hour, ge: 2013-01-03T00:00:00Z}
        - {column: day, ne: 2013-02-01}
        - {column: seats, gt: {claim: seats}}
      masks: {tail: hash, number: hash, Delay: {range: 15}, hour: {truncate: month}, note: {partial: {first: 1, last: 2}}, fare: null}
    - tables: [reference.airlines]
      columns: "*"
"""
POLICY = Policy(POLICY_TEXT)


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    ids = range(ROWS)
    flights = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "carrier": [("AA", "UA", "é✈", None, "UA")[i % 5] for i in ids],
            "tail": [None if i % 17 == 0 else f"N{i % 40}é" for i in ids],
            "Delay": [None if i % 10 == 0 else (i % 97) / 4 - 8 for i in ids],
            "hour": pa.array([START + timedelta(hours=i) for i in ids], pa.timestamp("us", "UTC")),
            "day": [date(2013, 1, 1) + timedelta(days=i % 50) for i in ids],
            "legs": pa.array([[i, i + 1] for i in ids], pa.list_(pa.int64())),
            "number": pa.array([i % 30 for i in ids], pa.int32()),
            "note": [["", "é", "ab", "o'neil", f"note ✈ {i}", None][i % 6] for i in ids],
            "fare": pa.array([i * 1.5 for i in ids], pa.float32()),
            "seats": pa.array([i % 4 for i in ids], pa.int16()),
            "secret": [f"{SECRET}{i}" for i in ids],
        }
    )
    airlines = pa.table({"carrier": ["AA", "UA", "é✈"], "name": ["American", "United", "Éclair"]})
    return {"silver.flights": flights, "reference.airlines": airlines, "silver.staff": pa.table({"name": [SECRET]})}


@pytest.fixture(scope="module")
def copy(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The same tables, filtered and masked by plain Python."""

    def hashed(value: Any) -> str | None:
        key = tenant_key(MASTER, "united")
        return None if value is None else hmac.new(key, str(value).encode(), hashlib.sha256).hexdigest()

    def partial(text: str | None) -> str | None:
        if text is None:
            return None
        return text[0] + "*" * (len(text) - 3) + text[-2:] if len(text) > 3 else "*" * len(text)

    rows = []
    for row in tables["silver.flights"].to_pylist():
        if row["carrier"] not in ("UA", "é✈") or row["hour"] < START + timedelta(days=2):
            continue
        if row["day"] == date(2013, 2, 1) or row["seats"] <= 2:
            continue
        row |= {"tail": hashed(row["tail"]), "number": hashed(row["number"]), "fare": None, "note": partial(row["note"])}
        row["Delay"] = None if row["Delay"] is None else math.floor(row["Delay"] / 15) * 15.0
        row["hour"] = row["hour"].replace(day=1, hour=0)
        rows.append({name: value for name, value in row.items() if name not in ("seats", "secret")})
    schema = pa.schema([x for x in tables["silver.flights"].schema if x.name not in ("seats", "secret")])
    schema = schema.set(schema.get_field_index("number"), pa.field("number", pa.string()))
    return {"silver.flights": pa.Table.from_pylist(rows, schema), "reference.airlines": tables["reference.airlines"]}


class Held:
    """A table in memory."""

    version = None

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def columns(self) -> Sequence[str]:
        return list(self._table.column_names)

    def scan(self, columns: Sequence[str], _conditions: Collection[object]) -> object:
        return self._table.select(list(columns))

    def scan_only(self, _columns: Sequence[str], _own: Collection[object], _conditions: Collection[object]) -> None:
        """What is in memory is not filtered."""


def held(tables: dict[str, pa.Table]) -> Callable[[str, int | None], GuardedSource]:
    return lambda name, _version: Held(tables[name])


def written(tables: dict[str, pa.Table], root: Path) -> Callable[[str, int | None], DeltaSource]:
    for name, table in tables.items():
        for part in (table.slice(0, ROWS // 2), table.slice(ROWS // 2)):
            write_deltalake(root / name.replace(".", "/"), part, mode="append")
    return lake(lambda name: Location(str(root / name.replace(".", "/"))))


@pytest.fixture(scope="module", params=["held", "delta", "exact", "kept", "kept and exact"])
def ask(request: Any, tables: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], QueryResult]:
    """Ask as Ada, of tables in memory, of the same as Delta tables, which skip files by what is compared, and once more where the

    reader itself leaves out all that is not to be seen: it cannot say "not equal", so there those rows are not in the table; and of
    tables that the gateway keeps, in both ways.
    """
    root, policy = tmp_path_factory.mktemp("lake"), POLICY
    if "exact" in request.param:
        flights = tables["silver.flights"]
        tables = {**tables, "silver.flights": flights.filter(pc.field("day") != date(2013, 2, 1))}
        policy = Policy(POLICY_TEXT.replace("- {column: day, ne: 2013-02-01}", "- {column: day, ge: 2013-01-01}"))
    open_source: Callable[[str, int | None], GuardedSource] = held(tables)
    if request.param != "held":
        open_source = written(tables, root)
        open_source = Holding(Recent(open_source, 60), 10**9) if "kept" in request.param else open_source
    views = policy.visible(ADA, tables)
    return lambda sql: answer(sql, list(views), govern(open_source, views, MASTER), limit=100_000)


def outcome(ask: Callable[[str], QueryResult], sql: str) -> list[str] | str:
    """Return the rows in an order that does not depend on the engine, or how it failed."""
    try:
        return sorted(map(repr, ask(sql).rows()))
    except (QueryFailedError, QueryRefusedError) as error:
        return f"{type(error).__name__} {error}"


def compare(ask: Callable[[str], QueryResult], copy: dict[str, pa.Table], seeds: range) -> None:
    refused = answered = 0
    for seed in seeds:
        sql = Generator(seed).query()
        right = outcome(lambda text: answer(text, list(copy), held(copy), limit=100_000), sql)
        found = outcome(ask, sql)
        assert found == right, sql
        refused += isinstance(right, str)
        answered += not isinstance(right, str) and len(right) > 0
    assert refused <= len(seeds) * 0.05
    assert answered > len(seeds) / 2


def test_a_user_gets_what_a_filtered_and_masked_copy_would_give(
    ask: Callable[[str], QueryResult], copy: dict[str, pa.Table]
) -> None:
    compare(ask, copy, range(80))


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
def test_thousands_of_queries_get_what_a_copy_would_give(ask: Callable[[str], QueryResult], copy: dict[str, pa.Table]) -> None:
    compare(ask, copy, range(1_000, 5_000))


ATTACKS = [
    "SELECT secret FROM flights",
    "SELECT f.secret FROM flights f",
    'SELECT "SECRET" FROM silver.flights',
    "SELECT * FROM flights WHERE secret LIKE 'XYZZY1%'",
    "SELECT id FROM flights ORDER BY secret",
    "SELECT id FROM flights WHERE 1 / (CASE WHEN secret = 'XYZZY2' THEN 0 ELSE 1 END) = 1",
    "SELECT flights FROM flights",
    "SELECT to_json(f) FROM flights f",
    "SELECT COLUMNS('.*') FROM flights",
    "SELECT * EXCLUDE (id) FROM flights",
    "SELECT * REPLACE (secret AS id) FROM flights",
    "SELECT name FROM staff",
    "SELECT name FROM silver.staff",
    'SELECT name FROM "silver"."staff"',
    "SELECT name FROM main.silver.staff",
    "SELECT name FROM flights NATURAL JOIN staff",
    "SELECT (SELECT name FROM silver.staff)",
    "WITH staff AS (SELECT * FROM silver.staff) SELECT * FROM staff",
    "SELECT 1 UNION ALL SELECT name FROM silver.staff",
    "SELECT id FROM flights WHERE EXISTS (SELECT 1 FROM silver.staff WHERE name = 'XYZZY')",
    "SELECT fare::INTEGER FROM flights WHERE fare > 0",
    "SELECT max(fare), min(fare), sum(fare) FROM flights",
    "SELECT carrier FROM flights WHERE carrier = 'AA'",
    "SELECT count(*) FROM flights WHERE carrier IS NULL",
    "SELECT tail::INTEGER FROM flights",
    "SELECT error(secret) FROM flights",
    "SELECT error(tail) FROM flights",
    "SELECT seats FROM flights",
    "SELECT id FROM flights WHERE tail = 'N7é'",
    "EXPLAIN SELECT * FROM flights",
    "EXPLAIN ANALYZE SELECT * FROM flights",
    "SUMMARIZE silver.flights",
    "DESCRIBE silver.flights",
    "DESCRIBE silver.staff",
    "SHOW TABLES",
    "FROM duckdb_columns()",
    "FROM duckdb_views()",
    "FROM information_schema.columns",
    "FROM sqlite_master",
    "FROM pg_catalog.pg_views",
    "FROM __scan_0",
    "FROM whole",
    "SELECT * FROM query('FROM __scan_0')",
    "SELECT * FROM query_table('whole')",
    "PRAGMA show_tables",
    "FROM read_parquet('/**')",
    "FROM '/etc/passwd'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT getenv('HOME')",
    "SELECT current_setting('secret_directory')",
    "ATTACH '/tmp/x'",
    "COPY flights TO '/tmp/x'",
    "SELECT 1; SELECT name FROM silver.staff",
    "SELECT 1 /* ; */ -- \nFROM silver.staff",
    "SELECT name FROM silver.ｓtaff",
    "SELECT name FROM silver.staff\u200b",
    "SELECT name FROM silver.flights AT (VERSION => 0)",
    "SELECT * FROM flights POSITIONAL JOIN silver.staff",
    "PIVOT silver.staff ON name USING count(*)",
    "SELECT approx_quantile(fare, 0.5), histogram(fare) FROM flights",
    "SELECT stats(secret) FROM flights",
    "SELECT stats(fare), stats(tail) FROM flights LIMIT 3",
]


@pytest.mark.parametrize("sql", ATTACKS)
def test_no_known_attack_shows_what_is_hidden(ask: Callable[[str], QueryResult], sql: str) -> None:
    try:
        result = ask(sql)
    except TidemillError as error:
        told = str(error)
        if SECRET not in sql:
            assert SECRET not in told
        assert "staff" not in told.replace(sql, "") or "There is no table" in told or "Only" in told or "cannot be read" in told
        assert not any(f"N{n}é" in told for n in range(40) if f"N{n}é" not in sql)
    else:
        told = repr((result.columns, result.rows()))
        assert SECRET not in told.replace("XYZZY1%", "")
        for hidden in ("'AA'", "secret", "seats", "root:", *(f"'N{n}é'" for n in range(40))):
            assert hidden not in told.replace(sql, "")
        if "fare" in sql and "stats" not in sql:
            assert not any(isinstance(value, float | int) and value for row in result.rows() for value in row)


def test_a_user_sees_the_columns_that_are_there_for_them(ask: Callable[[str], QueryResult]) -> None:
    rows = {row[0]: row[1] for row in ask("DESCRIBE silver.flights").rows()}
    assert list(rows) == ["id", "carrier", "tail", "Delay", "hour", "day", "legs", "number", "note", "fare"]
    assert rows["number"] == "VARCHAR"
    assert rows["fare"] == "FLOAT"


@pytest.mark.parametrize(
    ("grant", "column"),
    [
        ("columns: [id, nope]", "nope"),
        ("columns: '*', masks: {nope: hash}", "nope"),
        ("columns: '*', rows: [{column: nope, eq: 1}]", "nope"),
        ("columns: '*', masks: {legs: hash}", "legs"),
        ("columns: '*', masks: {id: {partial: {first: 1}}}", "id"),
        ("columns: '*', masks: {carrier: {range: 3}}", "carrier"),
        ("columns: '*', masks: {Delay: {truncate: day}}", "Delay"),
        ("columns: '*', masks: {Delay: hash}", "Delay"),
        ("columns: '*', rows: [{column: carrier, eq: 1}]", "carrier"),
        ("columns: '*', rows: [{column: id, eq: '1'}]", "id"),
        ("columns: '*', rows: [{column: id, eq: true}]", "id"),
        ("columns: '*', rows: [{column: day, ge: 2013-01-01T00:00:00Z}]", "day"),
        ("columns: '*', rows: [{column: legs, eq: 1}]", "legs"),
    ],
)
def test_a_policy_that_does_not_fit_shows_nothing(grant: str, column: str, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    policy = Policy(f"roles: {{analyst: [{{tables: [silver.flights], {grant}}}]}}")
    views = policy.visible(ADA, tables)
    for open_source in (held(tables), written(tables, tmp_path)):
        with pytest.raises(AccessDeniedError, match=f"speaks of {column}, which .*; nothing of the table is shown"):
            answer("FROM flights", list(views), govern(open_source, views, MASTER))


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        ("{column: carrier, in: ['UA', 'é✈']}", lambda row: row["carrier"] in ("UA", "é✈")),
        ('{column: carrier, eq: "o\'neil"}', lambda row: False),
        ("{column: carrier, in: []}", lambda row: False),
        ("{column: carrier, in: {claim: nothing}}", lambda row: False),
        ("{column: id, lt: -1}", lambda row: False),
        ("{column: id, le: 700}", lambda row: row["id"] <= 700),
        ("{column: id, gt: {claim: seats}}", lambda row: row["id"] > 2),
        ("{column: day, lt: 2013-01-20}", lambda row: row["day"] < date(2013, 1, 20)),
        ("{column: hour, ge: 2013-01-20}", lambda row: row["hour"] >= datetime(2013, 1, 20, tzinfo=UTC)),
        ("{column: hour, lt: 2013-01-20T01:00:00+02:00}", lambda row: row["hour"] < datetime(2013, 1, 19, 23, tzinfo=UTC)),
        ("{column: tail, lt: N2}", lambda row: row["tail"] is not None and row["tail"].encode() < b"N2"),
        ("{column: Delay, ge: 3}", lambda row: row["Delay"] is not None and row["Delay"] >= 3),
        ("{column: seats, ne: 2}", lambda row: row["seats"] != 2),
    ],
)
def test_no_mask_and_rows_that_the_reader_finds(
    rows: str, seen: Callable[[dict[str, Any]], bool], tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    """The columns that the policy compares are not even asked for."""
    views = Policy(f"roles: {{analyst: [{{tables: [silver.flights], columns: [note, legs], rows: [{rows}]}}]}}").visible(
        ADA, tables
    )
    open_source = written(tables, tmp_path)
    found = answer("SELECT note, legs FROM flights", list(views), govern(open_source, views, MASTER), limit=ROWS).rows()
    assert sorted(map(repr, found)) == sorted(
        repr((row["note"], row["legs"])) for row in tables["silver.flights"].to_pylist() if seen(row)
    )
