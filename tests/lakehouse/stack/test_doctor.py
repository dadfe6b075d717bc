from __future__ import annotations

import shutil
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lakehouse.security import authority
from lakehouse.settings import Settings
from lakehouse.stack import doctor
from lakehouse.stack.doctor import Check, examine
from lakehouse.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "tidemill.toml").write_text('[workspace]\nname = "one"\n')
    return Workspace.load(tmp_path)


def look(workspace: Workspace | None, name: str) -> Check:
    (found,) = [check for check in examine(workspace) if check.name == name]
    return found


def test_what_is_wrong_says_how_to_mend_it_and_nothing_is_written(workspace: Workspace) -> None:
    checks = examine(workspace)
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.found
        assert bool(check.fix) == (check.verdict != "ok"), check
    assert not workspace.state.exists()
    assert {check.name: check.verdict for check in checks if check.name in ("kafka", "valkey")} == {
        "kafka": "ok",
        "valkey": "ok",
    }


def test_without_a_workspace_the_machine_is_looked_at() -> None:
    assert look(None, "python").verdict == "ok"
    assert "tidemill init DIR" in look(None, "workspace").fix


def test_no_java(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    check = look(workspace, "java")
    assert check.verdict == "fail"
    assert check.fix.startswith("install Java 17")


@pytest.mark.parametrize(("gib", "verdict"), [(2, "fail"), (6, "warn"), (16, "ok")])
def test_memory(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, gib: int, verdict: str) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=gib * 2**30))
    assert look(workspace, "memory").verdict == verdict


@pytest.mark.parametrize(("gib", "verdict"), [(0.5, "fail"), (5, "warn"), (50, "ok")])
def test_disk(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, gib: float, verdict: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(gib * 2**30)))
    assert look(workspace, "disk").verdict == verdict


def test_jars_that_are_not_there_yet(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDEMILL_JARS_DIR", str(tmp_path / "empty"))
    assert look(workspace, "kafka jars").verdict == "warn"
    assert str(tmp_path / "empty") in look(workspace, "spark jars").found


def test_a_python_that_is_too_new(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    info = SimpleNamespace(major=3, minor=15, micro=0)
    monkeypatch.setattr(sys, "version_info", type("Info", (tuple,), vars(info))((3, 15, 0)))
    check = doctor._python()
    assert (check.verdict, check.found) == ("fail", "3.15.0")


def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.setenv("TIDEMILL_LAKE__CORES", "many")
    check = look(workspace, "settings")
    assert check.verdict == "fail"
    assert "lake.cores" in check.found


def test_a_damaged_record_is_named(workspace: Workspace) -> None:
    workspace.state.mkdir()
    (workspace.state / "stack.json").write_text("{")
    check = look(workspace, "servers")
    assert check.verdict == "fail"
    assert "down --wipe" in check.fix


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert look(workspace, "workspace").verdict == "fail"


def test_programs_that_are_not_installed(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert look(workspace, "s3 program").verdict == "fail"
    assert "TIDEMILL_S3__ENDPOINT_URL" in look(workspace, "s3 program").fix
    assert "TIDEMILL_POSTGRES__DSN" in look(workspace, "postgres program").fix
    assert look(workspace, "chromium").verdict == "warn"


@pytest.mark.parametrize(("days", "verdict"), [(300, "ok"), (20, "warn"), (0, "fail")])
def test_a_certificate_that_soon_expires(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, days: int, verdict: str) -> None:
    workspace.state.mkdir()
    (workspace.state / "stack.json").write_text('{"secure": true}')
    assert look(workspace, "certificate").verdict == "fail"
    monkeypatch.setattr(authority, "_LIFE", timedelta(days=days, seconds=60))
    authority.Authority(workspace).renew(Settings())
    check = look(workspace, "certificate")
    assert check.verdict == verdict
    assert check.found == f"{days} days are left"
