from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lakehouse.jvm import jars
from lakehouse.jvm.jars import Jar
from lakehouse.stack import supervisor
from lakehouse.stack.supervisor import Report, ServerStatus
from lakehouse.workspace import Workspace

SERVERS = [
    ServerStatus("kafka", "running", "127.0.0.1:20001", 11, Path("/log/kafka.log")),
    ServerStatus("s3", "external", "s3.example:443", None, None),
]


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A workspace whose servers start at once; returns the jars that were fetched."""
    (tmp_path / "tidemill.toml").touch()
    monkeypatch.setenv("TIDEMILL_WORKSPACE", str(tmp_path))
    names: list[str] = []

    def up(workspace: Workspace, report: Report, secure: bool | None) -> list[ServerStatus]:
        assert workspace.root == tmp_path.resolve()
        report("kafka", {None: "as before", True: "secure", False: "plain"}[secure])
        report("kafka", "starting")
        report("kafka", "ready on 127.0.0.1:20001")
        return SERVERS

    def fetch(name: str, on_jar: object) -> list[Path]:
        names.append(name)
        return []

    monkeypatch.setattr(supervisor, "up", up)
    monkeypatch.setattr(jars, "fetch", fetch)
    monkeypatch.setattr(jars, "missing", lambda name: [])
    return names


def test_a_script_reads_one_json_object_and_nothing_else() -> None:
    result = CliRunner().invoke(app, ["up", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["servers"] == {
        "kafka": {"state": "running", "address": "127.0.0.1:20001", "pid": 11, "log": "/log/kafka.log"},
        "s3": {"state": "external", "address": "s3.example:443", "pid": None, "log": None},
    }


def test_a_person_reads_a_table_and_what_happens_goes_to_standard_error() -> None:
    result = CliRunner().invoke(app, ["up"])
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["server", "state", "address", "process"],
        ["kafka", "running", "127.0.0.1:20001", "11"],
        ["s3", "external", "s3.example:443", "–"],
    ]
    assert "kafka: ready on 127.0.0.1:20001" in result.stderr


def test_jars_that_lack_are_fetched_first(monkeypatch: pytest.MonkeyPatch, fetched: list[str]) -> None:
    monkeypatch.setattr(jars, "missing", lambda name: [Jar("kafka", "org.example:one:1", "00")])
    assert CliRunner().invoke(app, ["up"]).exit_code == 0
    assert fetched == ["kafka"]


def test_an_external_broker_needs_no_jars(monkeypatch: pytest.MonkeyPatch, fetched: list[str]) -> None:
    monkeypatch.setattr(jars, "missing", lambda name: [Jar("kafka", "org.example:one:1", "00")])
    monkeypatch.setenv("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", "broker.example:9092")
    assert CliRunner().invoke(app, ["up"]).exit_code == 0
    assert fetched == []


@pytest.mark.parametrize(("options", "said"), [([], "as before"), (["--secure"], "secure"), (["--plain"], "plain")])
def test_how_servers_speak_is_passed_on(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["up", *options])
    assert result.exit_code == 0
    assert f"kafka: {said}" in result.stderr
