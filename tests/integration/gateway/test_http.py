"""The gateway as users meet it: over HTTP, by their own tokens, with another client than ours."""

from __future__ import annotations

import io
import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx2 as httpx
import polars as pl
import psycopg
import pyarrow.parquet as pq
import pytest
from doors import POLICY, ROWS, SignIn
from sightings import wait_for

from lakehouse.control import Control
from lakehouse.errors import (
    AuthenticationError,
    QueryFailedError,
    QueryRefusedError,
    SourceError,
    TidemillError,
    UnknownNameError,
)
from lakehouse.security import audit
from lakehouse.serving.gateway.client import Client
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


def ask(client: httpx.Client, sql: str, **more: Any) -> httpx.Response:
    return client.post("/sql", json={"sql": sql, **more})


def test_different_users_see_different_rows_and_values(sign_in: SignIn) -> None:
    sql = "SELECT carrier, count(*) AS n, min(tail) AS tail FROM silver.flights GROUP BY carrier ORDER BY carrier"
    found = {name: ask(sign_in(name), sql).raise_for_status().json() for name in ("ada", "ben", "root")}
    assert [row[:2] for row in found["ada"]["rows"]] == [["UA", ROWS // 3]]
    assert [row[:2] for row in found["ben"]["rows"]] == [["9E", ROWS // 3], ["DL", ROWS // 3]]
    assert [row[:2] for row in found["root"]["rows"]] == [["9E", ROWS // 3], ["DL", ROWS // 3], ["UA", ROWS // 3]]
    assert found["root"]["rows"][0][2] == "N0"
    assert len({row[2] for name in ("ada", "ben") for row in found[name]["rows"]} | {"N0"}) == 3  # tenants' hashes differ
    assert found["ada"]["versions"] == {"silver.flights": 0}


def test_answers_come_as_clients_take_them(sign_in: SignIn) -> None:
    client = sign_in("ada")
    sql = 'SELECT id, delay, "at", [id] AS list FROM flights ORDER BY id LIMIT 3'
    rows = ask(client, sql).json()["rows"]
    assert rows == [
        [0, None, "2013-01-01T00:00:00+00:00", [0]],
        [3, 0.75, "2013-01-01T00:03:00+00:00", [3]],
        [6, 1.5, "2013-01-01T00:06:00+00:00", [6]],
    ]
    text = ask(client, sql, format="csv").text
    assert text.splitlines()[:3] == [
        "id,delay,at,list",
        "0,,2013-01-01T00:00:00+00:00,[0]",
        "3,0.75,2013-01-01T00:03:00+00:00,[3]",
    ]
    stream = ask(client, sql, format="arrow")
    assert stream.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pl.read_ipc_stream(stream.content)["id"].to_list() == [0, 3, 6]
    assert pq.read_table(io.BytesIO(ask(client, sql, format="parquet").content)).column("list").to_pylist() == [[0], [3], [6]]
    limited = ask(client, "FROM flights", limit=10_000).json()
    assert (len(limited["rows"]), limited["truncated"]) == (ROWS // 3, False)
    limited = ask(sign_in("root"), "FROM flights", limit=10_000).json()
    assert (len(limited["rows"]), limited["truncated"]) == (5_000, True)


def test_values_come_as_parameters(sign_in: SignIn) -> None:
    client = sign_in("ada")
    named = ask(client, "SELECT count(*) FROM flights WHERE id < $most AND carrier = $c", parameters={"most": 30, "c": "UA"})
    assert named.json()["rows"] == [[10]]
    hostile = "UA' OR '1'='1"
    assert ask(client, "SELECT count(*) FROM flights WHERE carrier = ?", parameters=[hostile]).json()["rows"] == [[0]]
    assert "give their values" in ask(client, "SELECT count(*) FROM flights WHERE carrier = ?").json()["reason"]
    assert ask(client, "SELECT ?::INTEGER", parameters=["x"]).status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"sql": "SELECT salary FROM silver.flights"}, 422, 'column "salary" not found'),
        ({"sql": "FROM silver.secrets"}, 400, "There is no table silver.secrets; there are: silver.flights."),
        ({"sql": "FROM bronze.flights"}, 400, "There is no table bronze.flights"),
        ({"sql": "FROM gold.plans"}, 400, "There is no table gold.plans"),
        ({"sql": "FROM gold.plans", "purpose": "fun"}, 400, "There is no table gold.plans"),
        ({"sql": "DROP TABLE flights"}, 400, "Only one SELECT"),
        ({"sql": "SELECT 1; SELECT 2"}, 400, "2 statements"),
        ({"sql": "SELEC"}, 422, "cannot be read"),
        ({"sql": "FROM read_csv('/etc/passwd')"}, 400, "not allowed"),
        ({"sql": "SELECT count(*) FROM range(100000000000)", "timeout": 0.5}, 422, "took more than 0.5 s"),
        ({"sql": "FROM flights", "versions": {"silver.flights": 7}}, 422, "cannot be read at version 7"),
        ({"sql": "SELECT 1", "limit": 0}, 422, ""),
        ({"sql": "SELECT 1", "nope": 0}, 422, ""),
        ({}, 422, ""),
    ],
)
def test_what_may_not_be_is_refused_with_a_reason(body: dict[str, Any], status: int, reason: str, sign_in: SignIn) -> None:
    answer = sign_in("ada").post("/sql", json=body)
    assert answer.status_code == status, answer.text
    assert reason in answer.json().get("reason", "")


def test_a_purpose_opens_what_is_granted_for_it(sign_in: SignIn) -> None:
    client = sign_in("ada")
    assert len(ask(client, "FROM gold.plans", purpose="planning").json()["rows"]) == 3
    assert client.get("/tables").json() == {"tables": ["silver.flights"]}
    assert client.get("/tables", params={"purpose": "planning"}).json() == {"tables": ["silver.flights", "gold.plans"]}


def test_a_table_is_what_the_user_sees_of_it(sign_in: SignIn, workspace: Workspace) -> None:
    with closing(Control(Settings.load(workspace).require("postgres"))) as control:
        control.record_batch("silver.flights", 1, 0, duration_ms=5, rows_read=10, rows_written=10)
    found = sign_in("ada").get("/tables/silver.flights", params={"purpose": "planning"}).json()
    updated = datetime.fromisoformat(found.pop("updated_at"))
    assert abs((datetime.now(UTC) - updated).total_seconds()) < 60
    assert found == {
        "name": "silver.flights",
        "description": "Flights, one row each.",
        "tags": ["operations", "on time"],
        "role": "analyst",
        "columns": ["id", "carrier", "tail", "at", "delay"],
        "keys": ["id"],
        "personal": ["tail"],
        "masked": {"tail": "hash"},
        "revealed": [],
        "anonymous": False,
        "filtered": True,
        "version": 0,
        "reads": [],  # bronze is served to nobody
        "read_by": ["gold.plans"],
        "state": "idle",
        "lag": found["lag"],
        "quality": {"pass_rate": 1.0, "passed": None, "expectations": None, "failed": None, "validated_at": None},
    }
    whole = sign_in("root").get("/tables/silver.flights").json()
    assert whole["personal"] == ["tail", "salary"]
    assert whole["read_by"] == ["gold.plans", "silver.secrets"]
    assert sign_in("root").get("/tables/gold.plans").json()["reads"] == ["silver.flights", "silver.secrets"]
    assert sign_in("ada").get("/tables/gold.plans", params={"purpose": "planning"}).json()["reads"] == ["silver.flights"]
    assert sign_in("ada").get("/tables/silver.flights").json()["read_by"] == []
    missing = sign_in("ada").get("/tables/silver.secrets")
    assert (missing.status_code, missing.json()["reason"]) == (
        404,
        "There is no table silver.secrets; there are: silver.flights.",
    )


def test_who_is_not_known_gets_nothing(url: str, sign_in: SignIn) -> None:
    with httpx.Client(base_url=url) as nobody:
        for path in ("/tables", "/tables/silver.flights"):
            assert nobody.get(path).status_code == 401
        assert ask(nobody, "SELECT 1").status_code == 401
        nobody.headers["Authorization"] = "Bearer a.b.c"
        refused = ask(nobody, "SELECT 1")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        wrong = [nobody.post("/token", data={"username": name, "password": "x"}) for name in ("ada", "eve")]
        assert [(x.status_code, x.json()["reason"]) for x in wrong] == [(401, "Name or password is wrong.")] * 2
        assert "/sql" in nobody.get("/openapi.json").json()["paths"]
        page = nobody.get("/docs").raise_for_status().text
        assert "swagger-ui-bundle.js" in page
        assert "//" not in page.replace("<!--", "").replace("// ", "")  # nothing comes from elsewhere


def test_one_who_hangs_up_cancels(sign_in: SignIn, workspace: Workspace) -> None:
    client = sign_in("ada")
    with pytest.raises(httpx.ReadTimeout):
        client.post("/sql", json={"sql": "SELECT count(*) FROM range(100000000000) -- gone"}, timeout=1)
    settings = Settings.load(workspace)
    with psycopg.connect(settings.require("postgres"), autocommit=True) as connection:

        def is_given_up() -> bool:
            rows = connection.execute("SELECT entry FROM tidemill.audit ORDER BY at DESC LIMIT 1").fetchall()
            return bool(rows) and json.loads(rows[0][0]).get("outcome") == "QueryFailedError"

        wait_for(is_given_up, "the query is given up", seconds=15)


def test_everything_is_on_record_without_what_was_asked_for(sign_in: SignIn, workspace: Workspace) -> None:
    client = sign_in("ben")
    for secret in ("s3cr3t-1", "s3cr3t-2"):
        ask(client, f"SELECT id, tail FROM flights WHERE tail = '{secret}'").raise_for_status()
    ask(client, "SELECT 's3cr3t-3' FROM silver.secrets")
    settings = Settings.load(workspace)
    with closing(Control(settings.require("postgres"))) as control:
        kept = control.run("SELECT writer, entry FROM tidemill.audit ORDER BY at")
        rows = [json.loads(row["entry"]) for row in kept]
        first, second, refused = rows[-3:]
        assert {
            "user": "ben",
            "tenant": "delta",
            "tables": {"silver.flights": ["id", "tail"]},
            "versions": {"silver.flights": 0},
            "rows": 0,
            "outcome": "answered",
        }.items() <= first.items()
        assert first["fingerprint"] == second["fingerprint"] != refused["fingerprint"]
        assert refused["outcome"] == "QueryRefusedError"
        assert {row["kind"] for row in rows} >= {"policy", "login", "query"}
        assert "s3cr3t" not in json.dumps(rows)
        # Heads are put down within a second or so; other tests' gateways write to this database too, with their heads elsewhere.
        writers = {str(row["writer"]) for row in kept[-3:]}
        wait_for(
            lambda: not [found for found in audit.verify(control, Objects(settings))[1] if found.writer in writers],
            "the chain holds",
            seconds=10,
        )


def test_a_policy_that_changes_counts_at_once_and_a_wrong_one_lets_nobody_in(sign_in: SignIn, workspace: Workspace) -> None:
    client, file = sign_in("ada"), workspace.root / "policy.yml"
    count = "SELECT count(*) FROM flights"
    assert ask(client, count).json()["rows"] == [[ROWS // 3]]
    try:
        file.write_text(POLICY.replace("claim: carriers", "claim: nothing"))
        assert ask(client, count).json()["rows"] == [[0]]
        file.write_text("roles: [")
        refused = ask(client, count)
        assert (refused.status_code, refused.json()["error"]) == (503, "PolicyError")
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
    finally:
        file.write_text(POLICY)
    assert ask(client, count).json()["rows"] == [[ROWS // 3]]


def test_many_ask_at_once(sign_in: SignIn) -> None:
    clients = [sign_in(name) for name in ("ada", "ben", "ada", "ben")]
    answers: list[Any] = []

    def many(client: httpx.Client) -> None:
        for _ in range(5):
            answers.append(ask(client, "SELECT count(DISTINCT carrier) FROM flights").json()["rows"])

    threads = [threading.Thread(target=many, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [[[1]]] * 10 + [[[2]]] * 10


def test_the_python_client_gives_frames_and_the_errors_that_there_were(workspace: Workspace, url: str) -> None:
    sql = "SELECT id, carrier, delay FROM flights WHERE id < $most ORDER BY id"
    with Client.of(workspace, "ben") as client:
        table = client.arrow(sql, {"most": 6})
        assert table.to_pydict() == {"id": [1, 2, 4, 5], "carrier": ["DL", "9E", "DL", "9E"], "delay": [0.25, 0.5, 1.0, 1.25]}
        assert client.polars(sql, {"most": 6}).equals(pl.from_arrow(table))
        assert client.pandas(sql, {"most": 6}).equals(table.to_pandas())
        assert client.arrow("FROM flights", limit=10).num_rows == 10
        assert client.tables() == ["silver.flights"]
        with pytest.raises(QueryRefusedError, match=r"There is no table silver\.secrets"):
            client.arrow("FROM silver.secrets")
        with pytest.raises(QueryFailedError, match=r"took more than 0\.2 s"):
            client.arrow("SELECT count(*) FROM range(100000000000)", timeout=0.2)
        with pytest.raises(TidemillError):
            client.arrow("SELECT 1", limit=0)
    with pytest.raises(AuthenticationError, match="Name or password is wrong"):
        Client.sign_in(url, "ben", "x")
    with pytest.raises(UnknownNameError, match="there are: ada, ben, root"):
        Client.of(workspace, "eve")
    with pytest.raises(SourceError, match="does not answer"):
        Client.sign_in("http://127.0.0.1:9", "ben", "x")
    with Client(url, "a.b.c") as stranger, pytest.raises(AuthenticationError):
        stranger.arrow("SELECT 1")
