from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lakehouse.stack import doctor
from lakehouse.stack.doctor import Check
from lakehouse.workspace import Workspace

GOOD = [Check("python", "ok", "3.11.9"), Check("chromium", "warn", "not found", "install [it].")]
BAD = [*GOOD, Check("java", "fail", "Java was not found", "install Java 17 or newer.")]


@pytest.fixture(autouse=True)
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "tidemill.toml").touch()
    monkeypatch.setenv("TIDEMILL_WORKSPACE", str(tmp_path))
    return tmp_path.resolve()


def finds(monkeypatch: pytest.MonkeyPatch, checks: list[Check]) -> list[Workspace | None]:
    asked: list[Workspace | None] = []

    def examine(workspace: Workspace | None) -> list[Check]:
        asked.append(workspace)
        return checks

    monkeypatch.setattr(doctor, "examine", examine)
    return asked


def test_nothing_required_is_missing(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    asked = finds(monkeypatch, GOOD)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "→ install [it]." in result.stdout
    assert [found.root for found in asked if found] == [workspace]


def test_something_required_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, BAD)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "✗" in result.stdout
    assert "install Java 17" in result.stdout


def test_a_script_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, BAD)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert found["checks"][-1] == {
        "name": "java",
        "verdict": "fail",
        "found": "Java was not found",
        "fix": "install Java 17 or newer.",
    }


def test_it_works_outside_a_workspace(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    (workspace / "tidemill.toml").unlink()
    asked = finds(monkeypatch, GOOD)
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
    assert asked == [None]
