"""Answers that were given before are given again, to those who see the same, and to nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pyarrow as pa
import pytest
import valkey
from deltalake import DeltaTable, write_deltalake
from doors import POLICY, ROWS, SignIn, flights

from lakehouse.clients import delta_rs
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

COUNT = "SELECT carrier, count(*) AS n, min(tail) AS tail FROM silver.flights GROUP BY carrier ORDER BY carrier"


@pytest.fixture
def kept(workspace: Workspace, url: str) -> Iterator[valkey.Valkey]:
    """Return a Valkey in which nothing is kept yet."""
    with valkey.Valkey.from_url(Settings.load(workspace).require("valkey")) as client:
        for pattern in ("answer:*", "answers:*"):
            for key in client.scan_iter(pattern):
                client.delete(key)
        yield client


def ask(client: httpx.Client, sql: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.post("/sql", json={"sql": sql, **more}).raise_for_status().json()
    return found


def test_the_same_question_is_answered_from_what_is_kept(sign_in: SignIn, kept: valkey.Valkey) -> None:
    client = sign_in("ada")
    first, again = ask(client, COUNT), ask(client, COUNT)
    assert (first["cached"], again["cached"]) == (False, True)
    for name in ("columns", "types", "rows", "versions", "truncated"):
        assert first[name] == again[name]
    # However it is written; other constants, parameters, limits are other questions.
    assert ask(client, COUNT.replace("SELECT ", "select   ").replace("count(*)", "COUNT( * )") + " -- the same")["cached"]
    for other, more in (
        (COUNT, {"limit": 1}),
        ("SELECT $x", {"parameters": {"x": 1}}),
        ("SELECT id FROM flights WHERE id < $x", {"parameters": {"x": 1}}),
        ("SELECT id FROM flights WHERE id < $x", {"parameters": {"x": 1.0}}),
        ("SELECT id FROM flights WHERE id < 1", {}),
        ("SELECT id FROM flights WHERE id < 2", {}),
    ):
        assert not ask(client, other, **more)["cached"]


def test_who_sees_something_else_gets_another_answer(sign_in: SignIn, workspace: Workspace, kept: valkey.Valkey) -> None:
    found = {name: ask(sign_in(name), COUNT) for name in ("ada", "ben", "root")}
    assert [answer["cached"] for answer in found.values()] == [False] * 3
    assert {name: ask(sign_in(name), COUNT)["rows"] for name in found} == {name: x["rows"] for name, x in found.items()}
    file = workspace.root / "policy.yml"
    try:
        file.write_text(POLICY.replace("masks: {tail: hash}", "masks: {tail: {partial: {first: 1}}}"))
        changed = ask(sign_in("ada"), COUNT)
        assert not changed["cached"]
        assert changed["rows"][0][2] == "N*"
    finally:
        file.write_text(POLICY)
    assert ask(sign_in("ada"), COUNT)["cached"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT now(), count(*) FROM flights",
        "SELECT current_date, count(*) FROM flights",
        "SELECT random() FROM flights LIMIT 1",
        "SELECT uuid() FROM flights LIMIT 1",
        "SELECT id FROM flights USING SAMPLE 5",
        "SELECT 1",
    ],
)
def test_what_may_change_is_not_kept(sql: str, sign_in: SignIn, kept: valkey.Valkey) -> None:
    client = sign_in("ada")
    assert [ask(client, sql)["cached"] for _ in range(2)] == [False, False]


def test_rows_that_come_are_seen_within_a_second_or_so(sign_in: SignIn, workspace: Workspace, kept: valkey.Valkey) -> None:
    client, settings = sign_in("root"), Settings.load(workspace)
    count = "SELECT count(*) FROM gold.plans"
    where = {"storage_options": delta_rs(settings)}
    before = ask(client, count)
    assert ask(client, count)["cached"]
    write_deltalake("s3://doors/gold/plans", flights().slice(3, 2), mode="append", **where)
    try:
        threading.Event().wait(1.1)
        after = ask(client, count)
        assert (after["cached"], after["rows"][0][0] - before["rows"][0][0]) == (False, 2)
        assert ask(client, count, versions=before["versions"])["rows"] == before["rows"]
    finally:
        DeltaTable("s3://doors/gold/plans", **where).restore(0)


def test_no_tenant_keeps_more_than_its_share(sign_in: SignIn, kept: valkey.Valkey) -> None:
    client = sign_in("ada")
    for number in range(260):
        ask(client, "SELECT count(*) FROM flights WHERE id < ?", parameters=[number])
    assert len(list(kept.scan_iter("answer:*"))) == 256
    assert not ask(client, "SELECT count(*) FROM flights WHERE id < ?", parameters=[0])["cached"]
    assert ask(client, "SELECT count(*) FROM flights WHERE id < ?", parameters=[259])["cached"]
    large = ask(sign_in("root"), "SELECT id, repeat(tail, 200) FROM silver.flights", limit=5_000)
    assert (len(large["rows"]), ROWS > 5_000) == (5_000, True)
    assert not ask(sign_in("root"), "SELECT id, repeat(tail, 200) FROM silver.flights", limit=5_000)["cached"]


def test_what_is_kept_and_broken_is_worked_out_anew(sign_in: SignIn, kept: valkey.Valkey) -> None:
    client = sign_in("ada")
    rows = ask(client, COUNT)["rows"]
    (key,) = kept.scan_iter("answer:*")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([])):
        pass
    for broken in (b"", b"\xff" * 100, sink.getvalue().to_pybytes()):
        kept.set(key, broken)
        answer = ask(client, COUNT)
        assert (answer["cached"], answer["rows"]) == (False, rows)
        assert ask(client, COUNT)["cached"]
