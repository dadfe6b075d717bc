from __future__ import annotations

import json
from pathlib import Path

import pytest
from policies import analyst
from typer.testing import CliRunner, Result

from jobs import cli
from lakehouse.errors import AccessDeniedError, PolicyError, UnknownNameError

USERS = """
users:
  ada: {tenant: t, roles: [analyst], attributes: {carriers: [AA, UA]}}
  bob: {tenant: t, roles: [analist]}
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tidemill.toml").write_text("")
    for name in ("bronze/flights", "silver/flights"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "policy.yml").write_text(analyst(15))
    (tmp_path / "users.yml").write_text(USERS)
    monkeypatch.setenv("TIDEMILL_WORKSPACE", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["policy", *arguments])


def test_a_policy_is_checked_as_a_whole(workspace: Path) -> None:
    result = run("check")
    assert result.exit_code == 0, result.output
    assert "1 roles, 2 users of the workspace; version " in result.output
    assert "bob has roles that the policy does not know, and which give nothing: analist." in result.output
    found = json.loads(run("check", "--json").stdout)
    assert found["unknown_roles"] == {"bob": ["analist"]}
    assert len(found["version"]) == 16
    (workspace / "silver/flights.py").unlink()
    wrong = run("check")
    assert wrong.exit_code == 1
    assert isinstance(wrong.exception, PolicyError)
    assert "names silver.flights" in str(wrong.exception)


def test_what_a_user_sees_is_explained() -> None:
    result = run("explain", "ada", "silver.flights", "--purpose", "operations")
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    assert lines == [
        ["role", "analyst"],
        ["columns", "carrier; delay"],
        ["masks", "delay: range:15"],
        ["rows", "carrier in AA, UA"],
    ]
    found = json.loads(run("explain", "ada", "silver.flights", "--purpose", "operations", "--json").stdout)
    assert found["rows"] == ["carrier in AA, UA"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["ada", "silver.flights"], AccessDeniedError, "for operations, and asked for none"),
        (["bob", "silver.flights"], AccessDeniedError, "bob may not see silver.flights"),
        (["ada", "bronze.flights"], AccessDeniedError, "ada may not see bronze.flights"),
        (["ada", "silver.fights"], UnknownNameError, "There is no table silver.fights"),
        (["eve", "silver.flights"], UnknownNameError, "There is no user eve"),
    ],
)
def test_what_a_user_does_not_see_is_said(arguments: list[str], error: type[Exception], message: str) -> None:
    result = run("explain", *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
