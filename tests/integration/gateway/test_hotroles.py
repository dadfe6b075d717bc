"""The hot store itself shows a user no more than the policy does: row-level security, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from lakehouse.catalog import Catalog
from lakehouse.errors import AccessDeniedError
from lakehouse.livetables import LiveSpec, live_tables
from lakehouse.security.hotroles import HotRoles
from lakehouse.security.policy import Policy, View
from lakehouse.security.users import User
from lakehouse.serving.hot import HotSource
from lakehouse.serving.query import answer
from lakehouse.settings import Settings
from lakehouse.storage.hot import HotTable
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

MASTER = b"m" * 32
START = datetime(2013, 1, 1, tzinfo=UTC)
COLUMNS = {"id": "text", "at": "timestamptz", "n": "integer"}


@pytest.fixture
def dsn(gulls: Workspace) -> str:
    return Settings.load(gulls).require("postgres")


@pytest.fixture
def spec(gulls: Workspace) -> LiveSpec:
    return live_tables(gulls, Catalog.load(gulls))["gulls"]


@pytest.fixture
def table(dsn: str, spec: LiveSpec) -> Iterator[HotTable]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        table = HotTable(connection, spec, COLUMNS)
        table.prepare()
        table.land(rows(range(100)), START + timedelta(days=1))
        yield table


@pytest.fixture
def roles(dsn: str) -> Iterator[HotRoles]:
    roles = HotRoles(dsn, MASTER)
    yield roles
    roles.drop_all()


def rows(numbers: range) -> list[dict[str, Any]]:
    return [
        {
            "id": f"g{n % 10}",
            "at": (START + timedelta(minutes=n)).isoformat(),
            "n": n,
            "_topic_id": "t",
            "_partition": n % 2,
            "_offset": n,
            "_timestamp": START + timedelta(minutes=n),
        }
        for n in numbers
    ]


def view(grant: str, **attributes: tuple[str, ...]) -> View:
    user = User("ada", "north", ("watcher",), attributes)
    return Policy(f"roles: {{watcher: [{{tables: [live.gulls], {grant}}}]}}").view(user, "live.gulls")


def reading(dsn: str, roles: HotRoles, seen: View) -> psycopg.Connection[Any]:
    with psycopg.connect(dsn, autocommit=True) as owner:
        types = dict(
            owner.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'hot.gulls'::regclass "
                "AND attnum > 0"
            ).fetchall()
        )
        return psycopg.connect(roles.reader(owner, "gulls", seen, types), autocommit=True)


def test_a_role_reads_what_its_view_shows_and_nothing_else(dsn: str, roles: HotRoles, table: HotTable) -> None:
    seen = view("columns: [id, n], rows: [{column: id, in: {claim: birds}}]", birds=("g1", "g2' OR true --"))
    with reading(dsn, roles, seen) as connection:
        assert connection.execute("SELECT DISTINCT id, n % 10 FROM hot.gulls").fetchall() == [("g1", 1)]
        assert connection.execute("SELECT count(*) FROM hot.gulls").fetchone() == (10,)
        for refused in (
            'SELECT "at" FROM hot.gulls',
            "SELECT * FROM hot.gulls",
            "SELECT * FROM hot.clock",
            "SELECT * FROM tidemill.batch",
            "INSERT INTO hot.gulls (id) VALUES ('g1')",
            "DELETE FROM hot.gulls",
            "SET ROLE tidemill",
            "SET SESSION AUTHORIZATION tidemill",
            "ALTER TABLE hot.gulls DISABLE ROW LEVEL SECURITY",
            "CREATE ROLE other",
        ):
            with pytest.raises(psycopg.errors.Error):
                connection.execute(refused)  # type: ignore[call-overload]
        partitions = [f"hot.{name}" for (name,) in connection.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'hot.gulls'::regclass"
        )]  # fmt: skip
        assert partitions
        for name in partitions:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'SELECT id FROM hot."{name.removeprefix("hot.")}"')
        connection.execute("SET default_transaction_read_only = off")  # which is no part of the policy
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE hot.gulls SET n = 0")
        connection.execute("SET row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):  # rather than rows
            connection.execute("SELECT id FROM hot.gulls")


def test_who_has_a_role_of_one_view_cannot_take_anothers(dsn: str, roles: HotRoles, table: HotTable) -> None:
    one, other = view("columns: [id], rows: [{column: id, eq: g1}]"), view("columns: [id], rows: [{column: id, eq: g2}]")
    with reading(dsn, roles, one) as first, reading(dsn, roles, other) as second:
        assert first.execute("SELECT DISTINCT id FROM hot.gulls").fetchall() == [("g1",)]
        assert second.execute("SELECT DISTINCT id FROM hot.gulls").fetchall() == [("g2",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            first.execute(f'SET ROLE "{second.info.user}"')
        wrong = f"{dsn.replace('tidemill:', f'{second.info.user}:')}"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ("{column: n, lt: 10}", 10),
        ("{column: n, ge: 10}, {column: n, le: 19}", 10),
        ("{column: id, ne: g0}", 90),
        ("{column: id, ne: {claim: birds}}", 80),
        ("{column: n, gt: {claim: nothing}}", 0),
        ("{column: n, in: [1, 2, 3]}", 3),
        ("{column: at, ge: 2013-01-01T01:00:00Z}", 40),
        ("{column: at, lt: 2013-01-01}", 0),
    ],
)
def test_a_condition_is_the_same_there_as_in_a_query(rows: str, count: int, dsn: str, roles: HotRoles, table: HotTable) -> None:
    seen = view(f"columns: [id, n], rows: [{rows}]", birds=("g1", "g2"))
    with reading(dsn, roles, seen) as connection:
        assert connection.execute("SELECT count(*) FROM hot.gulls").fetchone() == (count,)
    found = answer("SELECT count(n) FROM live.gulls", ["live.gulls"], lambda *_: HotSource(dsn, "gulls", seen, roles))
    assert found.rows() == [(count,)]


def test_the_table_goes_on_and_comes_back(dsn: str, roles: HotRoles, table: HotTable, spec: LiveSpec) -> None:
    seen = view("columns: [id], rows: [{column: id, eq: g1}]")

    def count() -> Any:
        return answer("SELECT count(*) FROM live.gulls", ["live.gulls"], lambda *_: HotSource(dsn, "gulls", seen, roles)).rows()

    assert count() == [(10,)]
    table.land(rows(range(100, 200)), START + timedelta(days=1))  # the owner writes as before
    table.land(rows(range(150, 200)), START + timedelta(days=1))
    assert count() == [(20,)]
    roles.drop_all()
    assert count() == [(20,)]
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("DROP TABLE hot.gulls CASCADE")
        again = HotTable(owner, spec, {**COLUMNS, "wing": "double precision"})
        again.prepare()
        again.land([{**row, "wing": 1.5} for row in rows(range(10))], START + timedelta(days=1))
        assert count() == [(1,)]
        names = owner.execute("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, %s)", (roles.prefix,)).fetchone()
        assert names == (2,)


@pytest.mark.parametrize(
    "grant",
    [
        "columns: [id, nowhere]",
        "columns: [id], rows: [{column: nowhere, eq: 1}]",
        "columns: [id], rows: [{column: n, eq: one}]",
        "columns: [id], rows: [{column: id, eq: 1}]",
    ],
)
def test_a_policy_that_does_not_fit_shows_nothing(grant: str, dsn: str, roles: HotRoles, table: HotTable) -> None:
    with pytest.raises(AccessDeniedError, match=r"The policy on live\.gulls"):
        HotSource(dsn, "gulls", view(grant), roles)
