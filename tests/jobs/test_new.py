from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.pages import load_pages, titles
from jobs.cli import app
from jobs.scaffold import make_feed, make_page, make_workspace
from lakehouse.catalog import Catalog
from lakehouse.errors import ScaffoldError
from lakehouse.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "mine", empty=True)


def files_of(workspace: Workspace) -> set[str]:
    return {str(x.relative_to(workspace.root)) for x in workspace.root.rglob("*") if x.is_file() and "__pycache__" not in x.parts}


def test_a_feed_is_one_file_for_each_table_its_suite_and_its_test(workspace: Workspace) -> None:
    before = files_of(workspace)
    written = make_feed(workspace, "readings")
    assert {str(file.relative_to(workspace.root)) for file in written} == files_of(workspace) - before
    assert files_of(workspace) - before == {
        "bronze/readings.py",
        "silver/readings.py",
        "gold/readings_by_hour.py",
        "expectations/silver/readings.py",
        "tests/test_readings.py",
    }


def test_several_feeds_load_beside_each_other(workspace: Workspace) -> None:
    for name in ("readings", "silver", "frame", "gold2"):
        make_feed(workspace, name)
    found = Catalog.load(workspace)
    assert len(found) == 12
    spec = found.ingest("silver")
    assert (spec.keys, spec.suite, spec.feed) == (("id",), "silver/silver", "silver")
    assert found["bronze.readings"].source.topic == "readings"  # type: ignore[union-attr]


def test_the_test_that_comes_with_a_feed_passes(workspace: Workspace) -> None:
    make_feed(workspace, "readings")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    command += ["-W", "error", "-W", "ignore:module 'sre_:DeprecationWarning"]  # as in pyproject.toml
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_what_a_feed_is_made_of_keeps_to_the_projects_style(workspace: Workspace) -> None:
    files = [str(file) for file in make_feed(workspace, "readings")]
    config = str(Path(__file__).parents[2] / "pyproject.toml")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "--config", config, *files], check=True)
    rules = ["--no-cache", "--config", config, "--ignore", "D103"]
    subprocess.run([sys.executable, "-m", "ruff", "check", *rules, *files], check=True)


@pytest.mark.parametrize("name", ["", "Readings", "2nd", "a-b", "a b", "../x", "class", "x" * 61, "größe", "_a"])
def test_a_name_that_python_or_kafka_cannot_use_is_refused(workspace: Workspace, name: str) -> None:
    before = files_of(workspace)
    with pytest.raises(ScaffoldError, match="is no name for a feed"):
        make_feed(workspace, name)
    assert files_of(workspace) == before


@pytest.mark.parametrize(
    "there", ["bronze/readings.py", "gold/readings_by_hour.py", "reference/readings.py", "tests/test_readings.py"]
)
def test_nothing_is_overwritten(workspace: Workspace, there: str) -> None:
    (workspace.root / there).write_text("precious")
    before = files_of(workspace)
    with pytest.raises(ScaffoldError, match=r"is there already; choose another name"):
        make_feed(workspace, "readings")
    assert files_of(workspace) == before
    assert (workspace.root / there).read_text() == "precious"


def test_a_feed_that_cannot_be_written_whole_is_not_written_at_all(workspace: Workspace) -> None:
    (workspace.root / "tests/conftest.py").unlink()
    (workspace.root / "tests").rmdir()
    (workspace.root / "tests").touch()
    before = files_of(workspace)
    with pytest.raises(ScaffoldError, match="cannot be written"):
        make_feed(workspace, "readings")
    assert files_of(workspace) == before


def test_the_command_names_the_files_and_what_comes_next(workspace: Workspace) -> None:
    result = CliRunner().invoke(app, ["--workspace", str(workspace.root), "new", "feed", "readings"])
    assert result.exit_code == 0, result.output
    assert "wrote silver/readings.py" in result.stdout
    assert "tidemill run" in result.stdout


def test_only_known_kinds_are_made(workspace: Workspace) -> None:
    result = CliRunner().invoke(app, ["--workspace", str(workspace.root), "new", "fed", "readings"])
    assert result.exit_code == 2
    assert "feed" in result.output


def test_a_page_is_served_from_the_workspace(workspace: Workspace) -> None:
    written = make_page(workspace, "delays")
    assert {str(file.relative_to(workspace.root)) for file in written} >= {"apps/delays/page.py", "apps/delays/data.py"}
    assert titles(workspace)["delays"] == "Delays"
    assert callable(load_pages(workspace)["delays"])


def test_a_page_that_is_there_stays(workspace: Workspace) -> None:
    (workspace.root / "apps/delays").mkdir()
    for name in ("delays", "template"):
        with pytest.raises(ScaffoldError, match="is there already"):
            make_page(workspace, name)
    with pytest.raises(ScaffoldError, match="is no name for a page"):
        make_page(workspace, "../delays")


def test_the_command_names_the_page(workspace: Workspace) -> None:
    result = CliRunner().invoke(app, ["--workspace", str(workspace.root), "new", "page", "delays"])
    assert result.exit_code == 0, result.output
    assert "wrote apps/delays/page.py" in result.stdout
