from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse.errors import QueryFailedError, QueryRefusedError
from lakehouse.serving import query as module
from lakehouse.serving import tables
from lakehouse.serving.pushdown import given, predicate
from lakehouse.serving.query import QueryResult, run_query
from lakehouse.serving.sandbox import sandbox
from lakehouse.serving.statement import check
from lakehouse.serving.tables import Location, Scan

KNOWN = ["silver.flights", "silver.weather", "gold.weather", "gold.unwritten", "reference.airlines"]
START = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = 2000


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    ids = range(ROWS)
    flights = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "carrier": [("AA", "UA", "é✈", None)[i % 4] for i in ids],
            "Delay": [None if i % 10 == 0 else i / 4 for i in ids],
            "hour": pa.array([START + timedelta(hours=i) for i in ids], pa.timestamp("us", "UTC")),
            "day": [date(2013, 1, 1) + timedelta(days=i % 365) for i in ids],
            "fare": pa.array([Decimal(i) / 100 for i in ids], pa.decimal128(10, 2)),
            "legs": pa.array([[i, i + 1] for i in ids], pa.list_(pa.int64())),
            "plane": pa.array([{"type": "jet", "seats": i} for i in ids]),
            "select": [f"o'{i}" for i in ids],
        }
    )
    write_deltalake(root / "silver" / "flights", flights.slice(0, 1000))
    write_deltalake(root / "silver" / "flights", flights.slice(1000), mode="append")
    for layer in ("silver", "gold"):
        write_deltalake(root / layer / "weather", pa.table({"origin": ["JFK", "LGA"], "wind": [10.5, float("nan")]}))
    write_deltalake(root / "reference" / "airlines", pa.table({"carrier": ["AA", "UA"], "name": ["American", "United"]}))
    return root


def ask(lake: Path, sql: str, **options: object) -> QueryResult:
    return run_query(sql, KNOWN, lambda name: Location(str(lake / name.replace(".", "/"))), **options)  # type: ignore[arg-type]


def test_a_sample_is_answered(lake: Path) -> None:
    assert len(ask(lake, "SELECT id FROM silver.flights USING SAMPLE 5").rows()) == 5
    assert ask(lake, "SELECT count(*) FROM silver.flights TABLESAMPLE 0 PERCENT").rows() == [(0,)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM silver.flights", [(ROWS,)]),
        ("select count(*) from flights;", [(ROWS,)]),
        ("FROM airlines", [("AA", "American"), ("UA", "United")]),
        ("TABLE reference.airlines", [("AA", "American"), ("UA", "United")]),
        ('SELECT "Delay", delay FROM "silver"."FLIGHTS" WHERE ID = 5', [(1.25, 1.25)]),
        ('SELECT "select" AS "a ""b""" FROM flights WHERE id = 7', [("o'7",)]),
        ("SELECT carrier, count(*) FROM flights WHERE carrier = 'é✈' GROUP BY ALL", [("é✈", 500)]),
        ("SELECT id -- a comment; DROP TABLE x\nFROM /* ' */ flights WHERE id < 2 ORDER BY id", [(0,), (1,)]),
        ("SELECT 'DELETE FROM silver.flights; ATTACH ''x''' AS text", [("DELETE FROM silver.flights; ATTACH 'x'",)]),
        (
            "SELECT name, count(*) FROM flights JOIN airlines USING (carrier) GROUP BY name ORDER BY 1",
            [("American", 500), ("United", 500)],
        ),
        ("SELECT count(*) FROM flights NATURAL JOIN airlines", [(1000,)]),
        ("WITH f AS (SELECT id FROM flights WHERE id < 3), g AS (FROM f) SELECT sum(a.id) FROM f a JOIN g USING (id)", [(3,)]),
        ("WITH weather AS (SELECT 1 AS x) SELECT x FROM weather", [(1,)]),
        ("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT max(n) FROM t", [(5,)]),
        ("SELECT a.id FROM flights a, flights b WHERE a.id = b.id + 1998", [(1998,), (1999,)]),
        (
            "SELECT id FROM flights WHERE id < 2 UNION ALL SELECT id FROM flights WHERE id > 1998 ORDER BY 1",
            [(0,), (1,), (1999,)],
        ),
        ("SELECT f FROM (SELECT id FROM flights WHERE id = 3) f", [({"id": 3},)]),
        ("SELECT flights.plane.seats, plane['type'] FROM flights WHERE id = 4", [(4, "jet")]),
        ("SELECT unnest(legs) FROM flights WHERE id = 4", [(4,), (5,)]),
        ("SELECT l FROM flights, unnest(legs) u(l) WHERE id = 4", [(4,), (5,)]),
        ("SELECT list_transform(legs, lambda x: x * 2) FROM flights WHERE id = 1", [([2, 4],)]),
        ("SELECT a FROM flights AS f(a) WHERE a = 9", [(9,)]),
        ("SELECT #1 FROM flights WHERE id = 9", [(9,)]),
        ("SELECT COLUMNS('^i') FROM flights WHERE id = 9", [(9,)]),
        ("SELECT * EXCLUDE (name) FROM airlines ORDER BY ALL DESC", [("UA",), ("AA",)]),
        ("SELECT * FROM (PIVOT (SELECT carrier FROM airlines) ON carrier IN ('AA', 'UA') USING count(*))", [(1, 1)]),
        ("SELECT rank() OVER (ORDER BY carrier DESC) FROM airlines ORDER BY 1", [(1,), (2,)]),
        ("SELECT id FROM flights QUALIFY row_number() OVER (ORDER BY id DESC) <= 2 ORDER BY 1", [(1998,), (1999,)]),
        ("SELECT DISTINCT carrier FROM flights WHERE carrier IN ('UA', 'ZZ')", [("UA",)]),
        ("SELECT count(*) FROM flights WHERE EXISTS (FROM airlines a WHERE a.carrier = flights.carrier)", [(1000,)]),
        ("SELECT -id AS id FROM flights WHERE id < 2 ORDER BY 1", [(-1,), (0,)]),
        ("VALUES (1, 'x'), (2, NULL)", [(1, "x"), (2, None)]),
        ("SELECT sum(range) FROM range(4)", [(6,)]),
        ("SELECT fare FROM flights WHERE id = 150", [(Decimal("1.50"),)]),
        ("SELECT count(*) FROM silver.weather s JOIN gold.weather g USING (origin)", [(2,)]),
        ("SELECT date_trunc('day', hour) FROM flights WHERE id = 30", [(START + timedelta(days=1),)]),
        ("SELECT column_name, column_type FROM (DESCRIBE silver.weather)", [("origin", "VARCHAR"), ("wind", "DOUBLE")]),
        ("SELECT id FROM flights WHERE false", []),
        ("SELECT count(*) FROM (SUMMARIZE airlines)", [(2,)]),
    ],
)
def test_a_select_is_answered(lake: Path, sql: str, expected: list[tuple[object, ...]]) -> None:
    assert ask(lake, sql).rows() == expected


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        ";",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP SCHEMA silver CASCADE",
        "EXPLAIN ANALYZE SELECT 1",
        "INSERT INTO silver.flights SELECT * FROM silver.flights",
        "UPDATE silver.flights SET id = 1",
        "DELETE FROM silver.flights",
        "WITH gone AS (DELETE FROM silver.flights RETURNING *) SELECT * FROM gone",
        "WITH new AS (INSERT INTO silver.flights VALUES (1) RETURNING *) SELECT * FROM new",
        "WITH new AS (UPDATE silver.flights SET id = 1 RETURNING *) SELECT * FROM new",
        "SELECT * FROM (WITH gone AS (DELETE FROM silver.flights RETURNING *) FROM gone)",
        "MERGE INTO silver.flights USING airlines a ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
        "TRUNCATE silver.flights",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW silver.flights AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "DROP VIEW silver.flights",
        "ALTER TABLE silver.flights ADD COLUMN x INT",
        "COPY silver.flights TO '/tmp/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "EXPORT DATABASE '/tmp/x'",
        "IMPORT DATABASE '/tmp/x'",
        "ATTACH '/etc/passwd' AS p",
        "DETACH memory",
        "USE silver",
        "PRAGMA database_list",
        "PRAGMA table_info('silver.flights')",
        "SET lock_configuration = false",
        "SET GLOBAL enable_external_access = true",
        "SET VARIABLE x = 1",
        "RESET memory_limit",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL pragma_version()",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN TRANSACTION",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "CREATE SECRET s (TYPE s3, KEY_ID 'a')",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "SHOW DATABASES",
        "PIVOT airlines ON carrier USING count(*)",
        "SELECT * FROM 'file.csv'",
        'SELECT * FROM "/etc/passwd"',
        "SELECT * FROM '/tmp/*.parquet'",
        "SELECT * FROM 's3://lake/silver/flights/*.parquet'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM READ_CSV_AUTO('/etc/passwd')",
        "SELECT * FROM \"read_csv\"('/etc/passwd')",
        "SELECT * FROM main.read_text('/etc/passwd')",
        "SELECT * FROM system.main.read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('x')",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT * FROM parquet_scan('x')",
        "SELECT * FROM sniff_csv('x')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM delta_scan('x')",
        "SELECT * FROM iceberg_scan('x')",
        "SELECT * FROM sqlite_scan('x', 'y')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('silver.flights')",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM pandas_scan(1)",
        "SELECT * FROM python_arrow_scan(1, 2, 3)",
        "SELECT * FROM seq_scan('x')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM which_secret('s3://x', 's3')",
        "SELECT * FROM pragma_version()",
        "SELECT * FROM json_execute_serialized_sql('{}')",
        "SELECT * FROM silver.flights, LATERAL (SELECT * FROM read_csv(carrier))",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT 1 WHERE EXISTS (FROM read_text('/etc/passwd'))",
        "SELECT 1 UNION ALL SELECT content FROM read_text('/etc/passwd')",
        "WITH x AS (FROM read_text('/etc/passwd')) SELECT 1",
        "SELECT 1 ORDER BY (SELECT max(content) FROM read_text('/etc/passwd'))",
        "SELECT 1 LIMIT (SELECT count(*) FROM read_text('/etc/passwd'))",
        "SELECT * FROM (DESCRIBE SELECT * FROM read_csv('/etc/passwd'))",
        "SUMMARIZE 'file.csv'",
        "SELECT * FROM (PIVOT 'file.csv' ON a IN (1) USING count(*))",
        "SELECT list_transform([1], lambda x: (SELECT content FROM read_text('/etc/passwd')))",
        "SELECT getenv('HOME')",
        "SELECT current_setting('home_directory')",
        "SELECT \"current_setting\"('home_directory')",
        "SELECT system.main.current_setting('home_directory')",
        "SELECT sleep_ms(100000)",
        "SELECT write_log('x')",
        "SELECT nextval('s')",
        "SELECT json_serialize_plan('SELECT 1')",
        "SELECT count(*) FILTER (getenv('HOME') = '') OVER () FROM airlines",
        "SELECT * FROM bronze.flights",
        "SELECT * FROM silver.nothing",
        "SELECT * FROM nothing",
        "SELECT * FROM weather",
        "SELECT * FROM memory.silver.flights",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_tables",
        "SELECT * FROM duckdb_tables",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM __scan_0",
        "SELECT * FROM silver.flights, __scan_0",
        "SELECT * FROM silver.flights AT (VERSION => 0)",
        "SELECT $1",
        "SELECT ?",
        "SELECT $name",
        "SELECT 1\0",
        "SELECT " + "+".join(["1"] * 60_000),
    ],
)
def test_anything_else_is_refused_before_it_runs(lake: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_execute", lambda *_: pytest.fail("it ran"))
    with pytest.raises(QueryRefusedError) as caught:
        ask(lake, sql)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('/etc/hostname')",
        "FROM '/etc/hostname'",
        "ATTACH '/tmp/x.db'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "LOAD httpfs",
        "COPY (SELECT 1) TO '/tmp/tidemill-must-not-exist'",
        "FROM secret",
    ],
)
def test_duckdb_itself_could_open_nothing(sql: str) -> None:
    secret = pa.table({"x": [1]})
    assert secret.num_rows
    connection = sandbox()
    with pytest.raises(duckdb.Error):
        connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM silver.nothing", ["silver.nothing", "silver.flights", "reference.airlines"]),
        ("SELECT * FROM weather", ["gold.weather or silver.weather"]),
        ("SELECT * FROM read_csv('x')", ["read_csv", "unnest"]),
    ],
)
def test_a_refusal_says_what_would_have_worked(lake: Path, sql: str, words: list[str]) -> None:
    with pytest.raises(QueryRefusedError) as caught:
        ask(lake, sql)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT id FRM silver.flights x", ["syntax error", "LINE 1", "^"]),
        ("SELECT carier FROM airlines", ["carier", "carrier", "LINE 1", "^"]),
        ("SELECT nofunction(1)", ["nofunction"]),
        ("SELECT CAST(name AS INT) FROM airlines", ["American", "INT32"]),
        ("SELECT * FROM gold.unwritten", ["gold.unwritten has no data yet", "tidemill run"]),
        ("SELECT * FROM x.y.z.w.flights WHERE (", ["syntax error"]),
        ("WITH x AS (SELECT 1) SELECT * FROM (WITH y AS (SELECT 2) FROM x), y", ["y"]),
        ("SELECT list(repeat('x', 50000000)) FROM range(1000) r", ["1GiB"]),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, ["depth"]),
    ],
)
def test_a_wrong_query_says_where(lake: Path, sql: str, words: list[str]) -> None:
    with pytest.raises(QueryFailedError) as caught:
        ask(lake, sql)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_one_version_of_each_table_is_read_and_named(lake: Path) -> None:
    newest = ask(lake, "SELECT count(*) FROM flights JOIN airlines USING (carrier)")
    assert newest.versions == {"silver.flights": 1, "reference.airlines": 0}
    older = ask(lake, "SELECT (SELECT count(*) FROM flights) + (SELECT count(*) FROM flights)", versions={"silver.flights": 0})
    assert (older.rows(), older.versions) == ([(2000,)], {"silver.flights": 0})


def test_a_version_that_is_not_there_is_named(lake: Path) -> None:
    with pytest.raises(QueryFailedError, match=r"silver\.flights cannot be read at version 9"):
        ask(lake, "SELECT count(*) FROM flights", versions={"silver.flights": 9})
    with pytest.raises(QueryRefusedError, match=r"gold\.weather"):
        ask(lake, "SELECT count(*) FROM flights", versions={"gold.weather": 0})


def test_a_commit_while_a_query_runs_does_not_show(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "silver" / "flights"
    write_deltalake(path, pa.table({"id": [1]}))
    execute = module._execute

    def commit_first(*args: object) -> object:
        write_deltalake(path, pa.table({"id": [2]}), mode="append")
        return execute(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_execute", commit_first)
    result = ask(tmp_path, "SELECT a.id, b.id FROM flights a, flights b")
    assert (result.rows(), result.versions) == ([(1, 1)], {"silver.flights": 0})


def test_rows_are_limited_and_the_rest_is_not_computed(lake: Path) -> None:
    start = time.monotonic()
    result = ask(lake, "SELECT * FROM range(1000000000000)", limit=3)
    assert (result.rows(), result.truncated) == ([(0,), (1,), (2,)], True)
    assert time.monotonic() - start < 10
    assert not ask(lake, "FROM airlines", limit=2).truncated
    assert len(ask(lake, "SELECT id FROM flights", limit=10**12).rows()) == ROWS


@pytest.mark.parametrize(
    "sql", ["SELECT count(*) FROM range(1000000000000) a", "SELECT range FROM range(1000000000000) WHERE range < 0"]
)
def test_a_slow_query_is_given_up(lake: Path, sql: str) -> None:
    start = time.monotonic()
    with pytest.raises(QueryFailedError, match=r"more than 0\.5 s"):
        ask(lake, sql, timeout=0.5)
    assert time.monotonic() - start < 10


def test_a_file_removed_while_read_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "silver" / "flights"
    write_deltalake(path, pa.table({"id": [1]}))
    for file in path.glob("*.parquet"):
        file.unlink()
    with pytest.raises(QueryFailedError, match="removed while it was read"):
        ask(tmp_path, "SELECT id FROM flights")


def test_a_feature_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "silver" / "flights"
    write_deltalake(path, pa.table({"id": [1]}))
    log = next((path / "_delta_log").glob("*.json"))
    lines = [line for line in log.read_text().splitlines() if '"protocol"' not in line]
    features = '"readerFeatures":["variantType"],"writerFeatures":["variantType"]'
    protocol = f'{{"protocol":{{"minReaderVersion":3,"minWriterVersion":7,{features}}}}}'
    log.write_text("\n".join([protocol, *lines]) + "\n")
    with pytest.raises(QueryFailedError, match="variantType"):
        ask(tmp_path, "SELECT id FROM flights")


def test_a_broken_log_is_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "silver" / "flights" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020d}.json").write_text("{ no json\n")
    with pytest.raises(QueryFailedError, match=r"silver\.flights"):
        ask(tmp_path, "SELECT id FROM flights")


def test_a_store_that_does_not_answer_is_said_soon() -> None:
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "connect_timeout": "1s",
        "max_retries": "1",
    }
    assert "very-secret" not in repr(Location("s3://lake/silver/flights", options))
    with pytest.raises(QueryFailedError, match=r"silver\.flights cannot be read") as caught:
        run_query("SELECT 1 FROM flights", KNOWN, lambda _: Location("s3://lake/silver/flights", options))
    assert "very-secret" not in str(caught.value)


TYPES = {"id": "long", "carrier": "string", "day": "date", "hour": "timestamp", "Delay": "double"}


@pytest.mark.parametrize(
    ("where", "pushed"),
    [
        ("id = 5", '"id" = 5'),
        ("5 > ID AND carrier IN ('AA', 'o''x')", "\"id\" < 5 AND (\"carrier\" = 'AA' OR \"carrier\" = 'o''x')"),
        ("f.id BETWEEN -1 AND 3", '"id" >= -1 AND "id" <= 3'),
        ("day >= DATE '2013-02-01'", "\"day\" >= DATE '2013-02-01'"),
        ("hour < '2013-02-01'", "\"hour\" < arrow_cast('2013-02-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"),
        ("id = 5 OR carrier = 'AA'", None),
        ("id <> 5", None),
        ("NOT id = 5", None),
        ("id + 1 = 5", None),
        ("id = '5'", None),
        ("id = 5.0", None),
        ("carrier = 5", None),
        ("Delay > 5", None),
        ("hour < '2013-02-01 00:00:00+02:00'", None),
        ("hour < 'infinity'", None),
        ("carrier > upper('a')", None),
        ("other.id = 5", None),
        ("id = 12345678901234567890", None),
    ],
)
def test_plain_conditions_reach_the_reader(where: str, pushed: str | None) -> None:
    statement = check(f"SELECT count(*) FROM silver.flights f WHERE {where}", KNOWN)
    assert predicate(statement.filters["silver.flights"], TYPES) == pushed


@pytest.mark.parametrize(
    "where",
    [
        "id = 5",
        "3 >= id",
        "id BETWEEN 998 AND 1002 AND carrier = 'AA'",
        "carrier IN ('AA', 'é✈')",
        "carrier > 'B'",
        "\"select\" = 'o''7'",
        "day = '2013-02-01'",
        "day BETWEEN DATE '2013-12-30' AND DATE '2014-01-05'",
        "hour >= TIMESTAMP '2013-03-01 12:00:00'",
        "hour < '2013-01-02'",
        "hour BETWEEN '2013-01-02 00:00:00' AND DATE '2013-01-03'",
        "hour = '2013-01-02 03:00:00' OR id = 1",
    ],
)
def test_a_pushed_condition_changes_no_answer(lake: Path, where: str) -> None:
    pushed = ask(lake, f"SELECT id FROM flights WHERE {where} ORDER BY id", limit=ROWS).rows()
    # A table that is read twice gets no condition.
    plain = ask(lake, f"SELECT id FROM flights WHERE ({where}) AND (SELECT count(*) FROM flights) > 0 ORDER BY id", limit=ROWS)
    assert pushed
    assert pushed == plain.rows()


def test_only_the_columns_asked_for_are_read(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []

    class Spy(Scan):
        def __init__(self, table: object, columns: list[str], *known: object) -> None:
            read.append(columns)
            super().__init__(table, columns, *known)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "Scan", Spy)
    ask(lake, "SELECT f.carrier, max(DELAY) FROM flights f WHERE id > 5 GROUP BY 1")
    ask(lake, "SELECT count(*) FROM flights")
    ask(lake, "SELECT carrier FROM airlines a WHERE EXISTS (SELECT * FROM flights f WHERE f.carrier = a.carrier)")
    assert read == [["id", "carrier", "Delay"], ["id"], ["carrier"], ["carrier"]]


@pytest.mark.parametrize(
    "sql",
    [
        "EXISTS (SELECT DISTINCT * FROM flights OFFSET 1)",
        "EXISTS (SELECT * FROM flights INTERSECT SELECT * FROM flights)",
        "EXISTS (SELECT COLUMNS('id') FROM flights)",
        "EXISTS (SELECT *, 1 FROM flights)",
        "id IN (SELECT * FROM flights)",
        "EXISTS (SELECT * FROM (SELECT * FROM flights))",
    ],
)
def test_a_star_whose_columns_matter_is_all_of_them(sql: str) -> None:
    assert check(f"SELECT 1 FROM airlines WHERE {sql}", KNOWN).columns is None


@pytest.mark.parametrize(
    ("sql", "pushed"),
    [
        ("flights f, airlines a WHERE f.id = 5", {"silver.flights": '"id" = 5'}),
        ("flights f LEFT JOIN airlines a ON f.carrier = a.carrier WHERE f.id = 5", {"silver.flights": '"id" = 5'}),
        ("airlines a FULL JOIN flights f USING (carrier) WHERE id = 5", {"silver.flights": '"id" = 5'}),
        ("airlines a JOIN (flights f CROSS JOIN range(3) r) ON true WHERE f.id = 5", {"silver.flights": '"id" = 5'}),
        ("airlines a ANTI JOIN flights f USING (carrier) WHERE carrier = 'AA'", {}),
        ("airlines a SEMI JOIN flights f USING (carrier) WHERE a.id = 5", {}),
        ("airlines a ASOF JOIN flights f ON a.id >= f.id WHERE f.id = 5", {}),
        ("airlines a POSITIONAL JOIN flights f WHERE f.id = 5", {}),
        ("flights TABLESAMPLE 10% WHERE id = 5", {}),
        ("flights f, airlines a WHERE a.id = 5", {}),
        ("flights f, flights g WHERE f.id = 5", {}),
        ("flights f WHERE day < DATE '2013-01-31' + INTERVAL 1 MONTH", {"silver.flights": "\"day\" < DATE '2013-02-28'"}),
        ("flights f WHERE day > DATE '2013-03-01' - INTERVAL '1' DAY", {"silver.flights": "\"day\" > DATE '2013-02-28'"}),
        ("flights f WHERE day = DATE '2012-02-29' + INTERVAL '1' YEAR", {"silver.flights": "\"day\" = DATE '2013-02-28'"}),
        ("flights f WHERE day < DATE '2013-01-31' + INTERVAL '1.5' MONTH", {}),
        ("flights f WHERE day < DATE '2013-01-31' + INTERVAL 5 HOUR", {}),
        ("flights f WHERE day < DATE '9999-12-31' + INTERVAL 1 DAY", {}),
    ],
)
def test_conditions_on_joined_tables_and_on_days_plus_intervals_reach_the_reader(sql: str, pushed: dict[str, str]) -> None:
    filters = check(f"SELECT 1 FROM {sql}", KNOWN).filters
    found = {name: text for name, x in filters.items() if name == "silver.flights" and (text := predicate(x, TYPES))}
    assert found == pushed


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*), sum(id) FROM flights f, airlines a WHERE f.carrier = a.carrier AND id BETWEEN 9 AND 99 AND name > 'A'",
        "SELECT count(*), count(name) FROM airlines a RIGHT JOIN flights f ON f.carrier = a.carrier WHERE id > 900 AND name > 'A'",
        "SELECT count(*), count(id) FROM airlines a LEFT JOIN flights f ON f.carrier = a.carrier AND id < 3 WHERE id = 1",
        "SELECT count(*) FROM airlines a FULL JOIN flights f USING (carrier) WHERE carrier = 'AA'",
        "SELECT count(*) FROM airlines a ANTI JOIN (FROM flights WHERE id < 1) f USING (carrier) WHERE carrier > 'A'",
        "SELECT count(*) FROM flights WHERE day < DATE '2013-01-31' + INTERVAL 1 MONTH",
        "SELECT count(*) FROM airlines a WHERE NOT EXISTS (SELECT * FROM flights f WHERE f.carrier = a.carrier AND id > 990)",
    ],
)
def test_what_is_pushed_through_joins_changes_no_answer(lake: Path, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    pushed = ask(lake, sql).rows()
    monkeypatch.setattr(tables, "predicate", lambda *_: None)
    assert pushed == ask(lake, sql).rows()


def test_parameters_reach_the_reader() -> None:
    named = check(
        "FROM flights WHERE id = $id AND carrier IN ($a, 'UA') AND hour < $until AND day > $day", KNOWN, with_parameters=True
    )
    values = {"id": 5, "a": "o'neil", "until": "2013-02-01", "day": date(2013, 1, 1)}
    assert predicate(given(named.filters["silver.flights"], values), TYPES) == (
        "\"id\" = 5 AND (\"carrier\" = 'o''neil' OR \"carrier\" = 'UA') "
        "AND \"hour\" < arrow_cast('2013-02-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    )
    numbered = check("FROM flights WHERE id = ? AND carrier = ?", KNOWN, with_parameters=True)
    assert predicate(given(numbered.filters["silver.flights"], [7, "AA"]), TYPES) == '"id" = 7 AND "carrier" = \'AA\''
    for strange in (True, 1.5, None, [1]):
        assert given(numbered.filters["silver.flights"], [strange, strange]) == ()


def test_the_answer_is_arrow(lake: Path) -> None:
    result = ask(lake, "SELECT id, carrier, hour FROM flights WHERE id < 2 ORDER BY id")
    table = pa.table(result.table)
    assert table.column("carrier").to_pylist() == ["AA", "UA"]
    assert result.types == ("BIGINT", "VARCHAR", "TIMESTAMP WITH TIME ZONE")


def test_neither_spark_nor_pandas_is_loaded(lake: Path) -> None:
    code = f"""
import sys
from lakehouse.serving.query import run_query
from lakehouse.serving.tables import Location
run_query("FROM silver.flights", ["silver.flights"], lambda _: Location({str(lake / "silver" / "flights")!r})).rows()
print(sorted({{"pyspark", "pandas", "pyarrow", "sqlglot"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
