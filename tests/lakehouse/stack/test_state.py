from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from lakehouse.errors import StackError
from lakehouse.settings import Settings, embedded_path
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.process import Identity
from lakehouse.stack.state import StackState, exclusive, write_private
from lakehouse.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "tidemill.toml").write_text('[workspace]\nname = "one"\n')
    (tmp_path / ".tidemill").mkdir()
    return Workspace.load(tmp_path)


def test_what_is_saved_is_read_again_and_only_the_owner_can(workspace: Workspace) -> None:
    state = StackState.load(workspace)
    with state.change():
        state.settings["kafka"] = {"bootstrap_servers": "127.0.0.1:20001"}
        state.pids["kafka"] = Identity(12, 34.5)
    ports = state.keep_ports("kafka", ("broker", "controller"))
    secrets = state.keep_secrets("valkey", ("password",))
    again = StackState.load(workspace)
    assert again == state
    assert again.ports["kafka"] == ports
    assert again.secrets["valkey"] == secrets
    assert embedded_path(workspace).stat().st_mode & 0o777 == 0o600
    assert Settings.load(workspace).kafka.bootstrap_servers == "127.0.0.1:20001"
    assert [path.name for path in workspace.state.iterdir()] == ["stack.json"]


def test_credentials_are_long_different_and_kept(workspace: Workspace) -> None:
    state = StackState.load(workspace)
    first = state.keep_secrets("s3", ("access_key", "secret_key"))
    assert len(set(first.values())) == 2
    assert min(map(len, first.values())) >= 32
    assert state.keep_secrets("s3", ("access_key", "secret_key")) == first


def test_ports_are_kept_until_somebody_else_takes_one(workspace: Workspace) -> None:
    state = StackState.load(workspace)
    first = state.keep_ports("kafka", ("broker", "controller"))
    assert state.keep_ports("kafka", ("broker", "controller")) == first
    with socket.create_server((LOOPBACK, first["broker"])):
        second = state.keep_ports("kafka", ("broker", "controller"))
    assert second["broker"] != first["broker"]
    assert second["controller"] == first["controller"]
    assert StackState.load(workspace).ports["kafka"] == second


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pids": {"kafka": {"pid": 1}}}', '{"ports": {"kafka": 1}}', "\x00"])
def test_a_damaged_file_is_refused_with_the_way_out(workspace: Workspace, content: str) -> None:
    embedded_path(workspace).write_text(content)
    with pytest.raises(StackError, match="down --wipe"):
        StackState.load(workspace)


def test_an_unknown_part_of_another_version_is_left_out(workspace: Workspace) -> None:
    embedded_path(workspace).write_text(json.dumps({"ports": {"minio": {"s3": 1}, "s3": {"s3": 20000}}}))
    assert StackState.load(workspace).ports == {"s3": {"s3": 20000}}


def test_a_failed_write_leaves_the_old_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workspace.state / "kept"
    write_private(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in workspace.state.iterdir()] == ["kept"]


def test_the_second_command_waits_for_the_first(workspace: Workspace) -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with exclusive(workspace, waits.set):
            order.append("second")

    with exclusive(workspace, lambda: order.append("never")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert workspace.state.stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").touch()
    (tmp_path / ".tidemill").touch()
    with (
        pytest.raises(StackError, match=r"\.tidemill cannot be written"),
        exclusive(Workspace.load(tmp_path), lambda: None),
    ):
        pass
