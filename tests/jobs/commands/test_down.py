from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The state folder of a workspace that has data, and whose servers are down."""
    (tmp_path / "tidemill.toml").touch()
    monkeypatch.setenv("TIDEMILL_WORKSPACE", str(tmp_path))
    folder = tmp_path / ".tidemill"
    (folder / "data" / "kafka").mkdir(parents=True)
    (folder / "data" / "kafka" / "segment").write_text("rows")
    return folder


def test_the_data_stays(state: Path) -> None:
    result = CliRunner().invoke(app, ["down"])
    assert result.exit_code == 0, result.output
    assert "the data stays" in result.stderr
    assert (state / "data" / "kafka" / "segment").exists()


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_wiping_asks_first_and_anything_but_yes_is_no(state: Path, answer: str) -> None:
    result = CliRunner().invoke(app, ["down", "--wipe"], input=answer)
    assert result.exit_code == 1
    assert "Erase all data" in result.stderr
    assert (state / "data" / "kafka" / "segment").exists()


@pytest.mark.parametrize(("arguments", "answer"), [(["--wipe"], "y\n"), (["--wipe", "--yes"], "")])
def test_wiping_erases(state: Path, arguments: list[str], answer: str) -> None:
    result = CliRunner().invoke(app, ["down", *arguments], input=answer)
    assert result.exit_code == 0, result.output
    assert [entry.name for entry in state.iterdir()] == ["stack.lock"]


def test_wiping_mends_a_damaged_record(state: Path) -> None:
    (state / "stack.json").write_text("{")
    assert CliRunner().invoke(app, ["down"]).exit_code == 1
    assert CliRunner().invoke(app, ["down", "--wipe", "--yes"]).exit_code == 0
    assert not (state / "stack.json").exists()
