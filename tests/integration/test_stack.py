"""The real servers: started, killed, stopped and erased as people and accidents do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import valkey
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from s3fs import S3FileSystem

from lakehouse.errors import SettingsError, StackError
from lakehouse.settings import PARTS, Part, Settings, embedded_path
from lakehouse.stack import supervisor
from lakehouse.stack.doctor import examine
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.state import StackState
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

TOPIC = "kept"
YEAR_2013, YEAR_2100 = 1_357_000_000_000, 4_102_444_800_000
LARGE = b"x" * 1_000_000


def make_workspace(root: Path) -> Workspace:
    root.mkdir(parents=True, exist_ok=True)
    (root / "tidemill.toml").write_text('[workspace]\nname = "tests"\n')
    return Workspace.load(root)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    # A folder with a space: paths reach four programs' configurations.
    made = make_workspace(tmp_path_factory.mktemp("stack") / "my lake")
    try:
        supervisor.up(made)
        yield made
    finally:
        supervisor.down(made, wipe=True)


@pytest.fixture
def up(workspace: Workspace) -> Settings:
    """The workspace with everything running, whatever the test before did."""
    supervisor.up(workspace)
    return Settings.load(workspace)


def files(settings: Settings) -> S3FileSystem:
    secret = settings.s3.secret_key
    assert secret is not None
    return S3FileSystem(
        key=settings.s3.access_key,
        secret=secret.get_secret_value(),
        endpoint_url=settings.require("s3"),
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def write_kafka(settings: Settings, value: bytes) -> None:
    address = {"bootstrap.servers": settings.require("kafka")}
    admin = AdminClient(address)
    if TOPIC not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result(10)
    producer = Producer({**address, "message.max.bytes": 2_000_000})
    failures: list[object] = []
    for payload, stamp in ((value, YEAR_2013), (LARGE, YEAR_2100)):
        producer.produce(TOPIC, payload, timestamp=stamp, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(20) == 0
    assert failures == [None, None]


def read_kafka(settings: Settings) -> bytes:
    consumer = Consumer({"bootstrap.servers": settings.require("kafka"), "group.id": "test"})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        records = [record for record in consumer.consume(100, timeout=10) if record.error() is None]
    finally:
        consumer.close()
    small = [record for record in records if record.value() != LARGE]
    assert len(small) * 2 == len(records)
    assert {record.timestamp()[1] for record in records} == {YEAR_2013, YEAR_2100}
    value = small[-1].value()
    assert isinstance(value, bytes)
    return value


def write_s3(settings: Settings, value: bytes) -> None:
    files(settings).pipe_file(f"{settings.s3.bucket}/kept/value", value)


def read_s3(settings: Settings) -> bytes:
    found = files(settings).cat_file(f"{settings.s3.bucket}/kept/value")
    assert isinstance(found, bytes)
    return found


def write_postgres(settings: Settings, value: bytes) -> None:
    with psycopg.connect(settings.require("postgres")) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS tidemill")
        connection.execute("CREATE TABLE IF NOT EXISTS tidemill.kept (value bytea)")
        connection.execute("INSERT INTO tidemill.kept VALUES (%s)", [value])


def read_postgres(settings: Settings) -> bytes:
    with psycopg.connect(settings.require("postgres")) as connection:
        row = connection.execute("SELECT value FROM tidemill.kept ORDER BY ctid DESC").fetchone()
    assert row is not None
    return bytes(row[0])


def write_valkey(settings: Settings, value: bytes) -> None:
    with valkey.Valkey.from_url(settings.require("valkey")) as client:
        client.set("kept", value)


def read_valkey(settings: Settings) -> bytes:
    with valkey.Valkey.from_url(settings.require("valkey")) as client:
        found = client.get("kept")
    assert isinstance(found, bytes)
    return found


WRITE: dict[Part, Callable[[Settings, bytes], None]] = {
    "kafka": write_kafka,
    "s3": write_s3,
    "postgres": write_postgres,
    "valkey": write_valkey,
}
READ: dict[Part, Callable[[Settings], bytes]] = {
    "kafka": read_kafka,
    "s3": read_s3,
    "postgres": read_postgres,
    "valkey": read_valkey,
}


def only(monkeypatch: pytest.MonkeyPatch, *embedded: Part) -> None:
    """Give every other part an address elsewhere, so that it is not started."""
    addresses = {"kafka": "BOOTSTRAP_SERVERS", "s3": "ENDPOINT_URL", "postgres": "DSN", "valkey": "URL"}
    for part in set(PARTS) - set(embedded):
        monkeypatch.setenv(f"TIDEMILL_{part.upper()}__{addresses[part]}", "any://me:secret@elsewhere.example:5432/lake")


def states(workspace: Workspace) -> dict[str, str]:
    return {server.part: server.state for server in supervisor.status(workspace)}


def pids(workspace: Workspace) -> dict[str, int | None]:
    return {server.part: server.pid for server in supervisor.status(workspace)}


def family(workspace: Workspace) -> list[psutil.Process]:
    """Every process of every server."""
    roots = [psutil.Process(pid) for pid in pids(workspace).values() if pid]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def test_up_twice_is_harmless(workspace: Workspace, up: Settings) -> None:
    before, settings = pids(workspace), embedded_path(workspace).read_text()
    said: list[str] = []
    supervisor.up(workspace, lambda part, text: said.append(text))
    assert pids(workspace) == before
    assert embedded_path(workspace).read_text() == settings
    assert said == ["runs already"] * len(PARTS)
    assert None not in before.values()


def test_everything_listens_on_the_loopback_address_only(workspace: Workspace, up: Settings) -> None:
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in family(workspace)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {LOOPBACK}


def test_credentials_are_private(workspace: Workspace, up: Settings) -> None:
    credentials = [value for part in StackState.load(workspace).secrets.values() for value in part.values()]
    assert len(credentials) == 8
    lines = []
    for process in family(workspace):
        with suppress(psutil.NoSuchProcess):  # a session of PostgreSQL's that ends
            lines.append(" ".join(process.cmdline()))
    assert len(lines) > len(PARTS)
    logs = [log.read_text(errors="replace") for log in (workspace.state / "logs").iterdir()]
    for credential in credentials:
        assert not any(credential in text for text in (*lines, *logs))
    assert workspace.state.stat().st_mode & 0o777 == 0o700
    for file in workspace.state.rglob("*"):
        if file.is_file() and any(value.encode() in file.read_bytes() for value in credentials):
            assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("part", ["s3", "postgres", "valkey"])
def test_a_wrong_credential_is_refused(up: Settings, part: Part) -> None:
    wrong = up.model_copy(
        update={
            "s3": up.s3.model_copy(update={"access_key": "wrong"}),
            "postgres": up.postgres.model_validate({"dsn": up.require("postgres").replace("tidemill:", "tidemill:0")}),
            "valkey": up.valkey.model_validate({"url": up.require("valkey").replace("://:", "://:0")}),
        }
    )
    with pytest.raises((PermissionError, psycopg.OperationalError, valkey.AuthenticationError)):
        READ[part](wrong)


def test_the_database_role_is_no_superuser_and_owns_its_database(up: Settings) -> None:
    with psycopg.connect(up.require("postgres")) as connection:
        row = connection.execute(
            "SELECT rolsuper, pg_get_userbyid(datdba) = current_user, version() FROM pg_roles, pg_database "
            "WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()
    assert row is not None
    assert row[:2] == (False, True)
    assert "PostgreSQL 18" in row[2]


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_server_comes_back_with_its_data(workspace: Workspace, up: Settings, part: Part) -> None:
    value = f"before the kill {time.time()}".encode()
    WRITE[part](up, value)
    before, ports = pids(workspace), StackState.load(workspace).ports
    killed = before.pop(part)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while states(workspace)[part] != "crashed" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert states(workspace)[part] == "crashed"
    (check,) = [check for check in examine(workspace) if check.name == part]
    assert check.verdict == "warn"
    assert "tidemill up" in check.fix

    supervisor.up(workspace)

    after = pids(workspace)
    assert after.pop(part) not in (None, killed)
    assert after == before, "the others go on"
    assert StackState.load(workspace).ports == ports
    assert READ[part](Settings.load(workspace)) == value


def test_a_reused_process_number_in_postmaster_pid_is_no_obstacle(workspace: Workspace, up: Settings) -> None:
    write_postgres(up, b"kept")
    pid = pids(workspace)["postgres"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    record = workspace.state / "data" / "postgres" / "postmaster.pid"
    lines = record.read_text().splitlines()
    record.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    supervisor.up(workspace)
    assert read_postgres(Settings.load(workspace)) == b"kept"


def test_a_server_that_nobody_recorded_is_replaced(workspace: Workspace, up: Settings) -> None:
    """As after a `kill -9` of `tidemill up` between starting a server and remembering it."""
    write_valkey(up, b"kept")
    lost = pids(workspace)["valkey"]
    assert lost is not None
    state = StackState.load(workspace)
    with state.change():
        del state.pids["valkey"]
    supervisor.up(workspace)
    assert not psutil.pid_exists(lost)
    assert pids(workspace)["valkey"] != lost
    assert read_valkey(Settings.load(workspace)) == b"kept"


def test_down_keeps_the_data_and_taken_ports_are_replaced(workspace: Workspace, up: Settings) -> None:
    for part in PARTS:
        WRITE[part](up, part.encode())
    processes = family(workspace)
    remembered = StackState.load(workspace).ports

    supervisor.down(workspace)
    assert set(states(workspace).values()) == {"stopped"}
    assert not any(process.is_running() for process in processes)
    with pytest.raises(SettingsError, match="tidemill up"):
        Settings.load(workspace).require("kafka")
    supervisor.down(workspace)  # twice is harmless

    with ExitStack() as others:
        for port in {port for some in remembered.values() for port in some.values()}:
            others.enter_context(socket.create_server((LOOPBACK, port)))
        problems = [check for check in examine(workspace) if check.name in PARTS and check.verdict == "warn"]
        assert len(problems) == len(PARTS)
        supervisor.up(workspace)
        settings = Settings.load(workspace)
        chosen = StackState.load(workspace).ports
        for part in PARTS:
            assert READ[part](settings) == part.encode()
            assert not set(chosen[part].values()) & set(remembered[part].values())


def test_two_ups_at_once_start_one_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "postgres", "valkey")
    workspace = make_workspace(tmp_path / "two")
    command = [sys.executable, "-m", "jobs", "--workspace", str(workspace.root), "up", "--json"]
    try:
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        outputs = [process.communicate(timeout=180) for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        first, second = (json.loads(out) for out, _ in outputs)
        assert first == second
        assert [server["state"] for server in first["servers"].values()] == ["external", "external", "running", "running"]
        assert pids(workspace) == {part: server["pid"] for part, server in first["servers"].items()}
        assert sum("waiting for another" in err for _, err in outputs) == 1
    finally:
        processes = family(workspace)
        down = [sys.executable, "-m", "jobs", "-w", str(workspace.root), "down", "--wipe", "--yes"]
        subprocess.run(down, check=True, timeout=120, capture_output=True)
    assert not any(process.is_running() for process in processes)
    assert [entry.name for entry in workspace.state.iterdir()] == ["stack.lock"]


def test_an_external_part_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "valkey")
    workspace = make_workspace(tmp_path / "external")
    try:
        servers = {server.part: server for server in supervisor.up(workspace)}
        assert {part: server.state for part, server in servers.items()} == {
            "kafka": "external",
            "s3": "external",
            "postgres": "external",
            "valkey": "running",
        }
        assert servers["postgres"].address == "elsewhere.example:5432"
        assert [entry.name for entry in (workspace.state / "data").iterdir()] == ["valkey"]

        monkeypatch.setenv("TIDEMILL_VALKEY__URL", "redis://cache.example:6379/0")
        started = servers["valkey"].pid
        assert started is not None
        supervisor.up(workspace)
        assert not psutil.pid_exists(started), "what became external is stopped"
        assert Settings.load(workspace).require("valkey") == "redis://cache.example:6379/0"
    finally:
        supervisor.down(workspace, wipe=True)


def test_a_server_that_cannot_start_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "valkey")
    workspace = make_workspace(tmp_path / "broken")
    supervisor.up(workspace)
    write_valkey(Settings.load(workspace), b"kept")
    supervisor.down(workspace)
    (log,) = (workspace.state / "data" / "valkey" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"*garbage\r\n" + log.read_bytes())
    with pytest.raises(StackError, match=r"(?s)valkey ended while it started.*Bad file format"):
        supervisor.up(workspace)
    assert states(workspace)["valkey"] == "stopped"


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path / "full")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5 * 2**20))
    with pytest.raises(StackError, match="Only 5 MB are free"):
        supervisor.up(workspace)
    assert not (workspace.state / "data").exists()


def test_a_database_whose_password_was_lost_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "postgres")
    workspace = make_workspace(tmp_path / "lost")
    try:
        supervisor.up(workspace)
        supervisor.down(workspace)
        embedded_path(workspace).unlink()
        begun = time.monotonic()
        with pytest.raises(StackError, match=r"password.*down --wipe"):
            supervisor.up(workspace)
        assert time.monotonic() - begun < 30
        assert states(workspace)["postgres"] == "stopped"
    finally:
        supervisor.down(workspace, wipe=True)


def test_wipe_erases_everything_and_a_new_start_is_empty(workspace: Workspace, up: Settings) -> None:
    write_s3(up, b"to be erased")
    before = StackState.load(workspace).secrets
    supervisor.down(workspace, wipe=True)
    assert [entry.name for entry in workspace.state.iterdir()] == ["stack.lock"]
    supervisor.up(workspace)
    settings = Settings.load(workspace)
    assert not files(settings).exists(f"{settings.s3.bucket}/kept/value")
    assert files(settings).exists(settings.s3.bucket)
    assert StackState.load(workspace).secrets != before
