"""Everything works through TLS, and what lies on disk is encrypted."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pushes import Lane
from secured import ASK, GULLS, MARKER, SEEN, ask_valkey, files, flight_rows, greeted, processes
from sightings import wait_for

from lakehouse.clients import delta_rs, postgres_dsn, trusting
from lakehouse.control import Control
from lakehouse.security.authority import Authority
from lakehouse.security.keyring import Keyring
from lakehouse.serving.gateway.client import Client
from lakehouse.settings import PARTS, Part, Settings, embedded_path
from lakehouse.stack import supervisor
from lakehouse.stack.door import PROCESS
from lakehouse.stack.process import leftovers
from lakehouse.stack.state import StackState
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


def test_a_feed_goes_through_the_lake_and_the_hot_store_to_those_who_ask(
    workspace: Workspace, settings: Settings, lake: subprocess.Popen[str]
) -> None:
    assert lake.wait(200) == 0, (workspace.root / "lake.log").read_text()[-2000:]
    Lane(settings).write(range(SEEN))
    with Client.of(workspace, "kim") as client:
        found = client.arrow(
            "SELECT count(*) AS n, count(*) FILTER (contains(id, $marker)) AS m FROM silver.gulls", {"marker": MARKER}
        )
        assert found.to_pylist() == [{"n": GULLS, "m": GULLS}]
        pushed: set[int] = set()
        for change in client.live("gulls", position="oldest", every=True):
            pushed |= {row["n"] for row in change.rows}
            if len(pushed) == SEEN:
                break
        assert pushed == set(range(SEEN))

        def is_kept() -> bool:
            return client.arrow("SELECT count(*) AS n FROM live.gulls").to_pylist() == [{"n": SEEN}]

        wait_for(is_kept, "the hot store has the rows", None, 30)
    assert flight_rows(workspace, "SELECT count(*) AS n FROM silver.gulls") == [(GULLS,)]


def test_keys_of_personal_data_are_found_through_tls(
    workspace: Workspace, settings: Settings, lake: subprocess.Popen[str]
) -> None:
    assert lake.wait(200) == 0, (workspace.root / "lake.log").read_text()[-2000:]
    table = DeltaTable(f"s3://{settings.s3.bucket}/silver/guests", storage_options=delta_rs(settings))
    (name,) = pa.table(table.scan(columns=["name"])).column("name").to_pylist()
    with closing(Control(postgres_dsn(settings))) as control:
        assert Keyring(workspace, settings, control).reveal([name], "silver.guests.name") == ["Zoë ada@example.org"]


def test_no_credential_is_in_a_log_or_on_a_command_line(workspace: Workspace, lake: subprocess.Popen[str]) -> None:
    credentials = [value for some in StackState.load(workspace).secrets.values() for value in some.values()]
    logs = [*(workspace.state / "logs").iterdir(), *workspace.root.glob("*.log"), *(workspace.state / "spark").glob("driver.*")]
    assert len(logs) > 8
    said = [log.read_text(errors="replace") for log in logs] + [" ".join(process.cmdline()) for process in processes(workspace)]
    assert not [text for text in said if any(credential in text for credential in credentials)]


def test_what_lies_in_the_object_store_is_encrypted(workspace: Workspace, settings: Settings) -> None:
    # Between random bytes, for what can be compressed is, and the marker would not be found for that reason.
    store, large = files(settings), b"".join(os.urandom(200) + MARKER.encode() for _ in range(50_000))
    store.pipe_file(f"{settings.s3.bucket}/chicks/large", large)
    assert store.cat_file(f"{settings.s3.bucket}/chicks/large", start=9_000_000, end=9_000_100) == large[9_000_000:9_000_100]
    assert not with_marker(workspace)
    store.mkdir("open")  # a bucket that nobody asked to be encrypted
    store.pipe_file("open/large", large)
    assert with_marker(workspace)
    store.rm("open", recursive=True)


def with_marker(workspace: Workspace) -> list[Path]:
    found = (workspace.state / "data" / "s3").rglob("*")
    return [file for file in found if file.is_file() and MARKER.encode() in file.read_bytes()]


def test_it_stays_secure_and_comes_back_after_a_kill(workspace: Workspace, settings: Settings) -> None:
    said: list[str] = []
    before = {server.part: server.pid for server in supervisor.up(workspace, lambda part, text: said.append(text))}
    assert said == ["runs already"] * len(PARTS)
    (door,) = leftovers(workspace.state / "data" / "valkey", [PROCESS])
    postgres = before.pop("postgres")
    assert postgres is not None
    os.kill(door.pid, signal.SIGKILL)
    os.kill(postgres, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (states := {x.part: x.state for x in supervisor.status(workspace)})["postgres"] != "crashed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (states["postgres"], states["valkey"]) == ("crashed", "unhealthy")
    after = {server.part: server.pid for server in supervisor.up(workspace)}
    assert after.pop("postgres") != postgres
    assert after.pop("valkey") != before.pop("valkey")
    assert after == before, "the others go on"
    assert Settings.load(workspace) == settings
    for part in PARTS:
        ASK[part](settings)


def elsewhere(monkeypatch: pytest.MonkeyPatch, part: Part) -> None:
    """Give all other servers an address, so that they are not started."""
    addresses = {"kafka": "BOOTSTRAP_SERVERS", "s3": "ENDPOINT_URL", "postgres": "DSN", "valkey": "URL"}
    for other in set(PARTS) - {part}:
        monkeypatch.setenv(f"TIDEMILL_{other.upper()}__{addresses[other]}", "any://elsewhere.example:5432/lake")


def cache_only(monkeypatch: pytest.MonkeyPatch, root: Path, text: str = "") -> Workspace:
    """Make a workspace of which only the cache is embedded."""
    elsewhere(monkeypatch, "valkey")
    (root / "tidemill.toml").write_text(f'[workspace]\nname = "alone"\n{text}')
    return Workspace.load(root)


def test_it_is_secure_by_itself_where_a_service_listens_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = cache_only(monkeypatch, tmp_path, '[gateway]\naddress = "0.0.0.0"\n')
    try:
        supervisor.up(workspace)
        assert Settings.load(workspace).require("valkey").startswith("rediss:")
        ask_valkey(Settings.load(workspace))
        supervisor.up(workspace, secure=False)  # asked for
        settings = Settings.load(workspace)
        assert settings.require("valkey").startswith("redis:")
        assert not settings.encrypts_services
        ask_valkey(settings)
        supervisor.down(workspace)
        supervisor.up(workspace)
        assert Settings.load(workspace).require("valkey").startswith("redis:"), "it is remembered"
    finally:
        supervisor.down(workspace, wipe=True)


def test_a_server_gets_a_certificate_that_was_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = cache_only(monkeypatch, tmp_path)
    try:
        before = {server.part: server.pid for server in supervisor.up(workspace, secure=True)}
        authority = Authority(workspace)
        shown = authority.shown()
        authority.certificate.unlink()
        authority.renew(Settings.load(workspace))
        os.utime(authority.certificate, times=(time.time() + 10,) * 2)
        after = {server.part: server.pid for server in supervisor.up(workspace)}
        assert after["valkey"] != before["valkey"]
        port = StackState.load(workspace).ports["valkey"]["valkey"]
        with greeted(port, trusting(authority.ca)) as met:
            found = ssl.DER_cert_to_PEM_cert(met.getpeercert(binary_form=True) or b"")
        assert found in authority.certificate.read_text()
        assert shown != authority.shown()
    finally:
        supervisor.down(workspace, wipe=True)


def test_what_was_encrypted_can_still_be_read_when_the_store_is_plain_again(
    workspace: Workspace, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(settings).pipe_file(f"{settings.s3.bucket}/kept", MARKER.encode() * 1000)
    elsewhere(monkeypatch, "s3")
    supervisor.up(workspace, secure=False)
    plain = Settings.load(workspace)
    assert plain.require("s3").startswith("http:")
    assert files(plain).cat_file(f"{plain.s3.bucket}/kept") == MARKER.encode() * 1000
    assert json.loads(embedded_path(workspace).read_text())["secure"] is False
