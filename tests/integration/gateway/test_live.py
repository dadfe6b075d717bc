"""Rows are pushed to users as the policy shows them: by their own tokens, for as long as both are good, and on record."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import httpx2 as httpx
import pytest
from coasts import POLICY
from joserfc import jwt
from joserfc.jwk import OKPKey
from pushes import Lane, heard, hello, talk
from sightings import wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lakehouse.control import Control
from lakehouse.errors import PolicyError
from lakehouse.serving.client import Change
from lakehouse.serving.gateway.client import Client
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


def token(workspace: Workspace, name: str) -> str:
    password = json.loads((workspace.state / "issuer.json").read_text())["passwords"][name]
    answer = httpx.post(f"{Endpoint.of(workspace).url}/token", data={"username": name, "password": password})
    return str(answer.raise_for_status().json()["access_token"])


def collect(changes: Iterator[Change], count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        change = next(changes)
        assert change.kind == "rows", change
        rows += [dict(row) for row in change.rows]
    return rows


def test_users_get_their_rows_as_the_policy_shows_them(coast: Workspace) -> None:
    settings = Settings.load(coast)
    Lane(settings).write(range(100))
    with Client.of(coast, "ada") as ada, Client.of(coast, "ben") as ben, Client.of(coast, "kim") as kim:
        rows = collect(ada.live("gulls", position="oldest"), 20)
        assert sorted((row.pop("id"), row.pop("n")) for row in rows) == sorted(
            (f"g{n % 10}", n // 10 * 10) for n in range(100) if n % 10 in (1, 2)
        )
        assert not any(rows)
        assert {row["id"] for row in collect(ben.live("gulls", position="oldest"), 10)} == {"g3"}
        assert set(collect(kim.live("gulls", position="oldest"), 100)[0]) == {
            "id", "at", "n", "_topic_id", "_partition", "_offset", "_timestamp",
        }  # fmt: skip
        # A filter is about what is shown: 13 is not, and 10 is.
        some = ada.live("gulls", position="oldest", filter={"n": {"ge": 90}}, columns=["n"])
        assert collect(some, 2) == [{"n": 90}, {"n": 90}]
        with Client.of(coast, "ada") as other:
            whole = other.live("gulls", snapshot=True)
            (first,) = islice(whole, 1)
            assert first.kind == "snapshot"
            assert sorted(row["id"] for row in first.rows) == ["g1", "g2"]
            assert {frozenset(row) for row in first.rows} == {frozenset(("id", "n"))}


def test_what_is_not_shown_cannot_be_asked_for(coast: Workspace) -> None:
    for request, says in (
        ({"filter": {"at": "2013"}}, "No column at; there are: id, n."),
        ({"columns": ["_offset"]}, "No column _offset; there are: id, n."),
        ({"filter": {"nowhere": 1}}, "No column nowhere; there are: id, n."),
    ):
        with talk(coast, token(coast, "ada")) as socket:
            assert says in hello(socket, **request)["reason"]
    with talk(coast, token(coast, "ada")) as socket:
        assert hello(socket)["keys"] == ["id"]
    with talk(coast, token(coast, "eve")) as socket:
        assert hello(socket)["reason"] == "There is no live table 'gulls'; there are: none."
    with talk(coast, token(coast, "ada"), feed="terns") as socket:
        assert hello(socket)["reason"] == "There is no live table 'terns'; there are: gulls."
    answer = httpx.get(f"{Endpoint.of(coast).url}/live", headers={"Authorization": f"Bearer {token(coast, 'ada')}"})
    assert answer.json()["feeds"] == ["gulls"]


def test_a_token_that_is_forged_or_over_lets_nobody_in(coast: Workspace) -> None:
    good = token(coast, "ada")
    for bad in ("a.b.c", good[:-4], good + "x", "x" * 4_000):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            talk(coast, bad)
    with Client(Endpoint.of(coast).url, good) as client:
        client.arrow("SELECT 1")
    soon = signed(coast, good, seconds=4)
    with talk(coast, soon) as socket:
        assert hello(socket)["type"] == "hello"
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert "your token is worth nothing any more" in closed.value.rcvd.reason
    with pytest.raises(InvalidStatus):
        talk(coast, soon)


def signed(workspace: Workspace, good: str, seconds: int) -> str:
    """Return a token like another, that is good for so long."""
    settings = Settings.load(workspace)
    key = OKPKey.import_key(json.loads((workspace.state / "issuer.json").read_text())["key"])
    claims = jwt.decode(good, key, algorithms=["EdDSA", "Ed25519"])
    leeway = settings.oidc.leeway_seconds
    changed = {**claims.claims, "exp": int(time.time() - leeway + seconds)}
    return jwt.encode(claims.header, changed, key, algorithms=["EdDSA", "Ed25519"])


def test_a_policy_that_changes_ends_what_it_let_in(coast: Workspace) -> None:
    lane, file = Lane(Settings.load(coast)), coast.root / "policy.yml"
    stop, found = threading.Event(), []
    with Client.of(coast, "ada") as client:
        listening = threading.Thread(
            target=lambda: found.extend(row for change in client.live("gulls", stop=stop) for row in change.rows), daemon=True
        )
        listening.start()
        with talk(coast, token(coast, "ada")) as socket:
            assert hello(socket)["type"] == "hello"
            lane.write(range(10))
            file.write_text(POLICY.replace("columns: [id, n]", "columns: [n]"))
            with pytest.raises(ConnectionClosed) as closed:
                while heard(socket):
                    pass
            assert closed.value.rcvd is not None
            assert "The policy changed" in closed.value.rcvd.reason
        wait_for(lambda: bool(found), "rows came by the old policy", seconds=10)
        before = len(found)

        def is_seen() -> bool:
            lane.write(range(10, 20))
            time.sleep(0.5)
            return any(set(row) == {"n"} for row in found[before:])

        wait_for(is_seen, "the client is back, and sees what the new policy shows", seconds=20)
        assert {frozenset(row) for row in found} == {frozenset(("n",)), frozenset(("id", "n"))}
        file.write_text("roles: [")
        with pytest.raises(PolicyError):  # nobody is let in, and who is in is sent away
            while True:
                next(client.live("gulls"))
        stop.set()


def test_it_is_on_record(coast: Workspace) -> None:
    Lane(Settings.load(coast)).write(range(10))
    with talk(coast, token(coast, "ben")) as socket:
        hello(socket, position="oldest", columns=["n"])
        assert heard(socket)["rows"] == [{"n": 0}]
    with talk(coast, token(coast, "eve")) as socket:
        hello(socket)
    settings = Settings.load(coast)
    with closing(Control(settings.require("postgres"))) as control:

        def told(name: str) -> list[dict[str, Any]]:
            rows = control.run("SELECT entry FROM tidemill.audit ORDER BY at")
            entries = [json.loads(row["entry"]) for row in rows]
            return [entry for entry in entries if entry["kind"] == "live" and entry["user"] == name]

        wait_for(lambda: told("ben")[-1]["outcome"] == "ended", "that ben left is on record")
        assert [(entry["outcome"], entry["tables"], entry.get("rows")) for entry in told("ben")[-2:]] == [
            ("begun", {"live.gulls": ["n"]}, None),
            ("ended", {"live.gulls": ["n"]}, 1),
        ]
        last = told("eve")[-1]
        assert (last["tenant"], last["outcome"], last["tables"]) == ("south", "AccessDeniedError", {})
