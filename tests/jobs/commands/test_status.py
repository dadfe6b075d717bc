from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lakehouse.telemetry.lane import LaneStatus
from lakehouse.telemetry.reader import StatusReader
from lakehouse.telemetry.status import BatchStatus, FeedStatus, ServerStatus, Status, TableStatus

AT = datetime(2013, 6, 1, 12, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tidemill.toml").touch()
    monkeypatch.setenv("TIDEMILL_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Status:
    batch = BatchStatus(at=AT.replace(minute=2), duration_ms=900, rows_read=5, rows_written=5)
    table = TableStatus(
        layer="silver",
        description="Levels.",
        state="stopped",
        sentence="Its suite [fails].",
        rows=1_234_567,
        version=7,
        rows_per_second=80.4,
        lag=None,
        last_batch=batch,
        pass_rate=0.5,
        validation=None,
    )
    status = Status(
        at=AT,
        workspace="tides",
        lane=LaneStatus(state="running", sentence="tidemill run (process 7 on here) writes the tables."),
        tables={"silver.tides": table},
        feeds={"tides": FeedStatus(read=9, silver=4, dead_letters=2, duplicates=1, in_flight=2, reasons={"key: [x]": 2})},
        undeclared_fields={"tides": {"colour": 3}},
        servers={"kafka": ServerStatus(state="crashed", address="127.0.0.1:9", pid=None, log="k.log")},
        notes=["kafka: not running; `tidemill up` starts what is missing."],
    )
    monkeypatch.setattr(StatusReader, "read", lambda self, settings, control: status)
    return status


def test_a_script_reads_one_json_object_with_the_account_of_each_feed(found: Status) -> None:
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    feed = said["feeds"]["tides"]
    assert {name: feed[name] for name in ("read", "silver", "dead_letters", "duplicates", "in_flight")} == {
        "read": 9,
        "silver": 4,
        "dead_letters": 2,
        "duplicates": 1,
        "in_flight": 2,
    }
    assert said["undeclared_fields"] == {"tides": {"colour": 3}}
    assert said["servers"]["kafka"]["state"] == "crashed"
    assert said["tables"]["silver.tides"]["rows"] == 1_234_567


def test_a_person_reads_tables_and_sentences(found: Status) -> None:
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["silver.tides", "stopped", "1,234,567", "80", "–", "3", "min", "ago"] in lines
    assert ["tides", "9", "4", "2", "1", "2"] in lines
    for sentence in (
        "tidemill run (process 7 on here) writes the tables.",
        "silver.tides is stopped: Its suite [fails].",
        "tides: 2 dead letters: key: [x]",
        "tides has fields that nobody declared: colour (3)",
        "kafka: not running; `tidemill up` starts what is missing.",
    ):
        assert sentence in result.stdout


def test_without_servers_it_says_so_and_ends_well() -> None:
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["lane"]["state"] == "unknown"
    assert said["feeds"] == {}
    assert "`tidemill up`" in said["notes"][0]
