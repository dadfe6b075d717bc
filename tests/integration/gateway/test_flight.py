"""The gateway as a database client meets it: Apache Arrow's own ADBC driver for Flight SQL."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions
from doors import ROWS, SignIn
from pyarrow import flight

from lakehouse.control import Control
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.serving.gateway.flight_messages import pack
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def where(workspace: Workspace, url: str) -> str:
    return Endpoint.of(workspace).flight


def connect(workspace: Workspace, name: str, **headers: str) -> adbc.Connection:
    passwords = json.loads((workspace.state / "issuer.json").read_text())["passwords"]
    prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
    options = {"username": name, "password": passwords[name], **{f"{prefix}{key}": value for key, value in headers.items()}}
    return adbc.connect(Endpoint.of(workspace).flight, db_kwargs=options, autocommit=True)


def rows(connection: adbc.Connection, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def test_different_users_see_different_rows_and_values(workspace: Workspace, where: str) -> None:
    sql = "SELECT carrier, count(*) AS n, min(tail) AS tail FROM silver.flights GROUP BY carrier ORDER BY carrier"
    found = {}
    for name in ("ada", "ben", "root"):
        with connect(workspace, name) as connection:
            found[name] = rows(connection, sql)
    assert [row[:2] for row in found["ada"]] == [("UA", ROWS // 3)]
    assert [row[:2] for row in found["ben"]] == [("9E", ROWS // 3), ("DL", ROWS // 3)]
    assert [row[:2] for row in found["root"]] == [("9E", ROWS // 3), ("DL", ROWS // 3), ("UA", ROWS // 3)]
    assert found["root"][0][2] == "N0"
    assert len({row[2] for name in ("ada", "ben") for row in found[name]} | {"N0"}) == 3  # tenants' hashes differ


def test_an_answer_is_an_arrow_table(workspace: Workspace, where: str) -> None:
    with connect(workspace, "ada") as connection, connection.cursor() as cursor:
        cursor.execute('SELECT id, delay, "at" FROM flights WHERE id > 0 ORDER BY id LIMIT 2')
        table = cursor.fetch_arrow_table()
    assert table.schema.types == [pa.int64(), pa.float64(), pa.timestamp("us", "UTC")]
    assert table.to_pydict() == {
        "id": [3, 6],
        "delay": [0.75, 1.5],
        "at": [datetime(2013, 1, 1, 0, 3, tzinfo=UTC), datetime(2013, 1, 1, 0, 6, tzinfo=UTC)],
    }


def test_values_come_as_parameters(workspace: Workspace, where: str) -> None:
    with connect(workspace, "ada") as connection:
        assert rows(connection, "SELECT count(*) FROM flights WHERE id < ? AND carrier = ?", (30, "UA")) == [(10,)]
        assert rows(connection, "SELECT count(*) FROM flights WHERE carrier = $1", ("UA' OR '1'='1",)) == [(0,)]
        with pytest.raises(adbc_driver_manager.Error, match="give their values"):
            rows(connection, "SELECT count(*) FROM flights WHERE carrier = ?")


def test_a_statement_is_prepared_once_and_says_its_columns(workspace: Workspace, where: str) -> None:
    with connect(workspace, "ada") as connection, connection.cursor() as cursor:
        assert cursor.adbc_execute_schema("SELECT id, carrier FROM flights").names == ["id", "carrier"]
        cursor.adbc_prepare("SELECT count(*) AS n FROM flights WHERE id < ?")
        counts = []
        for most in (3, 30, 300):
            cursor.execute("SELECT count(*) AS n FROM flights WHERE id < ?", (most,))
            counts.append(cursor.fetchone())
    assert counts == [(1,), (10,), (100,)]


def test_the_catalog_shows_what_the_user_may_see(workspace: Workspace, where: str) -> None:
    with connect(workspace, "ada") as connection:
        info = connection.adbc_get_info()
        assert (info["vendor_name"], info["driver_name"].startswith("ADBC Flight SQL")) == ("Tidemill", True)
        assert connection.adbc_get_table_types() == ["TABLE"]
        assert _tables(connection) == {"silver": {"flights": ["id", "carrier", "tail", "at", "delay"]}}
        assert _tables(connection, table_name_filter="sec%") == {"silver": {}}
        assert connection.adbc_get_table_schema("flights", db_schema_filter="silver").names[2] == "tail"
    with connect(workspace, "ada", **{"x-tidemill-purpose": "planning"}) as connection:
        assert _tables(connection).keys() == {"gold", "silver"}
        assert rows(connection, "SELECT count(*) FROM gold.plans") == [(3,)]


def _tables(connection: adbc.Connection, **filters: str) -> dict[str, dict[str, list[str]]]:
    (catalog,) = connection.adbc_get_objects(depth="all", **filters).read_all().to_pylist()
    return {
        schema["db_schema_name"]: {
            table["table_name"]: [column["column_name"] for column in table["table_columns"]]
            for table in schema["db_schema_tables"] or []
        }
        for schema in catalog["catalog_db_schemas"]
    }


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT salary FROM silver.flights", 'column "salary" not found'),
        ("FROM silver.secrets", r"There is no table silver\.secrets; there are: silver\.flights\."),
        ("FROM gold.plans", r"There is no table gold\.plans"),
        ("DROP TABLE flights", "Only one SELECT"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELEC", "cannot be read"),
        ("FROM read_csv('/etc/passwd')", "not allowed"),
        ("FROM range(6000)", "more than 5,000 rows"),
    ],
)
def test_what_may_not_be_is_refused_with_a_reason(sql: str, reason: str, workspace: Workspace, where: str) -> None:
    with connect(workspace, "ada") as connection, pytest.raises(adbc_driver_manager.Error, match=reason):
        rows(connection, sql)


def test_nothing_can_be_written(workspace: Workspace, where: str) -> None:
    with connect(workspace, "root") as connection, connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error, match="only answers SELECT"):
            cursor.executescript("DELETE FROM silver.flights")
        with pytest.raises(adbc_driver_manager.Error):
            cursor.adbc_ingest("silver.flights", pa.table({"id": [1]}), mode="append")


def test_who_is_not_known_gets_nothing(workspace: Workspace, where: str, sign_in: SignIn) -> None:
    for options in ({}, {"username": "ada", "password": "x"}, {"username": "eve", "password": "x"}):
        with pytest.raises(adbc_driver_manager.Error), adbc.connect(where, db_kwargs=options, autocommit=True) as connection:
            rows(connection, "SELECT 1")
    header = DatabaseOptions.AUTHORIZATION_HEADER.value
    good = sign_in("ada").headers["authorization"]
    with adbc.connect(where, db_kwargs={header: good}, autocommit=True) as connection:
        assert rows(connection, "SELECT DISTINCT carrier FROM flights") == [("UA",)]
    for forged in ("Bearer a.b.c", good[:-4], "Basic !", "Basic " + "A" * 8, "Digest x", ""):
        with (
            pytest.raises(adbc_driver_manager.Error),
            adbc.connect(where, db_kwargs={header: forged}, autocommit=True) as connection,
        ):
            rows(connection, "SELECT 1")


@pytest.mark.parametrize(
    "ticket",
    [
        b"",
        b"\xff" * 40,
        pack("TicketStatementQuery", statement_handle=b"x"),
        pack("TicketStatementQuery", statement_handle=b""),
        pack("ActionClosePreparedStatementRequest"),
    ],
)
def test_bytes_that_mean_nothing_are_refused(ticket: bytes, where: str, sign_in: SignIn) -> None:
    options = flight.FlightCallOptions(headers=[(b"authorization", sign_in("ada").headers["authorization"].encode())])
    with flight.connect(where) as client:
        with pytest.raises(flight.FlightServerError) as refusal:
            client.do_get(flight.Ticket(ticket), options).read_all()
        with pytest.raises(flight.FlightServerError):
            client.get_flight_info(flight.FlightDescriptor.for_command(ticket), options)
        with pytest.raises(flight.FlightServerError):
            list(client.do_action(flight.Action("CreatePreparedStatement", ticket), options))
    assert "Traceback" not in str(refusal.value)


def test_plain_flight_finds_no_other_door(where: str, sign_in: SignIn) -> None:
    options = flight.FlightCallOptions(headers=[(b"authorization", sign_in("root").headers["authorization"].encode())])
    with flight.connect(where) as client:
        assert list(client.list_flights(b"", options)) == []
        assert {action.type for action in client.list_actions(options)} == {"CreatePreparedStatement", "ClosePreparedStatement"}
        with pytest.raises(flight.FlightServerError, match="nothing of Flight SQL"):
            client.get_flight_info(flight.FlightDescriptor.for_path("silver/flights"), options)
        with pytest.raises((flight.FlightError, pa.ArrowException)):
            writer, _ = client.do_put(flight.FlightDescriptor.for_path("silver/flights"), pa.schema([]), options)
            writer.close()


def test_it_is_on_record_without_what_was_asked_for(workspace: Workspace, where: str) -> None:
    with connect(workspace, "ben") as connection:
        rows(connection, "SELECT id, tail FROM flights WHERE tail = ?", ("s3cr3t",))
    with closing(Control(Settings.load(workspace).require("postgres"))) as control:
        entries = [json.loads(row["entry"]) for row in control.run("SELECT entry FROM tidemill.audit ORDER BY at")]
    assert {"kind": "query", "user": "ben", "tables": {"silver.flights": ["id", "tail"]}, "rows": 0}.items() <= entries[
        -1
    ].items()
    assert "s3cr3t" not in json.dumps(entries)
