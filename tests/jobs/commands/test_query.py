from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from policies import analyst
from typer.testing import CliRunner, Result

from jobs import cli
from jobs.commands import query as command
from jobs.commands.query import _text, _visible
from lakehouse.errors import PolicyError, QueryFailedError, QueryRefusedError
from lakehouse.serving import tables
from lakehouse.serving.query import plain
from lakehouse.serving.tables import Location


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tidemill.toml").write_text('[s3]\nendpoint_url = "http://127.0.0.1:9"\n')
    for name in ("bronze/flights", "silver/flights", "silver/_shared", "gold/routes"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise ImportError('a query must not import the tables')")
    rows = {"carrier": ["AA", "ü\x1b[31m", None], "delay": [1.5, float("nan"), None], "n": pa.array([1, 2, 3], pa.int64())}
    write_deltalake(tmp_path / "lake" / "silver" / "flights", pa.table(rows))
    monkeypatch.setenv("TIDEMILL_WORKSPACE", str(tmp_path))
    monkeypatch.setattr(tables, "lake_locator", lambda _: lambda name: Location(str(tmp_path / "lake" / name.replace(".", "/"))))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["query", *arguments])


@pytest.mark.usefixtures("workspace")
def test_the_rows_are_a_table_and_the_version_is_said() -> None:
    result = run("SELECT carrier, delay, n FROM silver.flights ORDER BY n")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"│ carrier +│ delay │ n │".replace("│", "[┃│]"), lines[1])
    assert "│ AA" in lines[3] and "│   1.5 │ 1 │" in lines[3]
    assert r"ü\x1b[31m" in lines[4] and "\x1b" not in result.stdout
    assert lines[5].count("null") == 2
    assert re.fullmatch(r"silver\.flights @ version 0 · 3 rows · \d+\.\d\d s", lines[-1])


@pytest.mark.usefixtures("workspace")
def test_json_is_one_object() -> None:
    result = run("SELECT carrier, delay, n, n::HUGEINT AS big FROM flights ORDER BY n", "--json")
    shown = json.loads(result.stdout)
    assert shown.pop("seconds") >= 0
    assert shown == {
        "cached": False,
        "columns": ["carrier", "delay", "n", "big"],
        "types": ["VARCHAR", "DOUBLE", "BIGINT", "HUGEINT"],
        "rows": [["AA", 1.5, 1, 1], ["ü\x1b[31m", None, 2, 2], [None, None, 3, 3]],
        "truncated": False,
        "versions": {"silver.flights": 0},
    }


@pytest.mark.usefixtures("workspace")
def test_csv_is_csv() -> None:
    result = run("SELECT carrier, 'a\"b,\nc' AS text FROM flights WHERE n = 1", "--csv")
    assert list(csv.reader(io.StringIO(result.stdout))) == [["carrier", "text"], ["AA", 'a"b,\nc']]
    assert "silver.flights @ version 0" in result.stderr


@pytest.mark.usefixtures("workspace")
def test_more_rows_than_the_limit_are_said_to_be_there() -> None:
    result = run("SELECT n FROM flights ORDER BY n", "--limit", "2")
    assert "the first 2 rows (--limit N for more)" in result.stdout
    assert json.loads(run("SELECT n FROM flights", "--limit", "2", "--json").stdout)["truncated"] is True


def test_an_older_version_is_read_when_asked(workspace: Path) -> None:
    write_deltalake(
        workspace / "lake" / "silver" / "flights", pa.table({"carrier": ["UA"], "delay": [0.0], "n": [4]}), mode="append"
    )
    for arguments, count in (([], 4), (["--version", "silver.flights=0"], 3)):
        assert json.loads(run("SELECT count(*) FROM flights", "--json", *arguments).stdout)["rows"] == [[count]]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["DROP TABLE silver.flights"], QueryRefusedError, "one SELECT"),
        (["SELECT * FROM bronze.flights"], QueryRefusedError, "gold.routes, silver.flights."),
        (["SELECT * FROM gold.routes"], QueryFailedError, "no data yet"),
        (["SELECT 1", "--json", "--csv"], QueryRefusedError, "exclude"),
        (["SELECT n FROM flights", "--version", "silver.flights"], QueryRefusedError, "TABLE=N"),
        (["SELECT n FROM flights", "--version", "silver.flights=-1"], QueryRefusedError, "TABLE=N"),
        (["SELECT n FROM flights", "--version", "silver.flights=7"], QueryFailedError, "version 7"),
    ],
)
def test_what_cannot_be_answered_is_an_error(arguments: list[str], error: type[Exception], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert isinstance(result.exception, error)
    assert words.lower() in str(result.exception).lower()
    assert result.stdout == ""


@pytest.mark.usefixtures("workspace")
def test_in_a_narrow_terminal_rows_stand_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    out = io.StringIO()
    monkeypatch.setattr(command, "console", Console(file=out, force_terminal=True, no_color=True, width=20, highlight=False))
    run("SELECT carrier, 'long enough to be too wide' AS text FROM flights WHERE n = 1")
    text = re.sub(r"\x1b\[\d*m", "", out.getvalue())
    assert "row 1 ─" in text and re.search(r"carrier +AA", text)


def test_control_characters_are_shown_not_obeyed() -> None:
    assert _visible("é\x1b[2J\x07\u202e\n") == "é\\x1b[2J\\x07\\u202e\n"


def test_values_as_text_and_as_json() -> None:
    stamp = datetime(2013, 1, 1, 5, tzinfo=UTC)
    assert [_text(x) for x in (0.1 + 0.2, True, stamp, b"\xff")] == ["0.3", "true", "2013-01-01 05:00:00+00:00", "ff"]
    assert plain([Decimal("3"), Decimal("1.5"), float("inf"), stamp, stamp.date(), b"\xff", {"a": (1,)}]) == [
        3,
        1.5,
        None,
        "2013-01-01T05:00:00+00:00",
        "2013-01-01",
        "ff",
        {"a": [1]},
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_stops_a_query(workspace: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "query", "SELECT count(*) FROM range(1000000000000) a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TIDEMILL_WORKSPACE": str(workspace)},
    )
    while psutil.Process(process.pid).cpu_times().user < 3:  # starting takes one second of it
        time.sleep(0.1)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - begun < 10


def test_a_user_gets_what_the_policy_lets_them_see(workspace: Path) -> None:
    (workspace / "policy.yml").write_text(analyst(1))
    (workspace / "users.yml").write_text("users: {ada: {tenant: t, roles: [analyst], attributes: {carriers: AA}}}")
    result = run("FROM silver.flights", "--as", "ada", "--purpose", "operations", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["columns"], found["rows"]) == (["carrier", "delay"], [["AA", 1.0]])
    for sql, options, message in (
        ("FROM silver.flights", ["--as", "ada"], "There is no table silver.flights; there are: none"),
        ("SELECT n FROM flights", ["--as", "ada", "--purpose", "operations"], 'Referenced column "n" not found'),
        ("FROM flights", ["--as", "bob"], "There is no user bob"),
        ("FROM flights", ["--purpose", "operations"], "name one with --as"),
    ):
        refused = run(sql, *options, "--json")
        assert refused.exit_code == 1
        assert message in str(refused.exception)
        assert refused.stdout == ""
    (workspace / "policy.yml").unlink()
    assert isinstance(run("FROM flights", "--as", "ada").exception, PolicyError)
