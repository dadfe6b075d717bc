from __future__ import annotations

import filecmp
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.scaffold import make_workspace
from lakehouse.catalog import Catalog, table_files
from lakehouse.errors import ScaffoldError
from lakehouse.quality import load
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace


def test_the_reference_tables_load_from_the_new_workspace(tmp_path: Path, catalog: Catalog) -> None:
    made = make_workspace(tmp_path / "flights", empty=False)
    found = Catalog.load(made)
    assert [spec.full_name for spec in found] == [spec.full_name for spec in catalog]
    assert {Path(spec.function.__code__.co_filename).is_relative_to(made.root) for spec in found if spec.function} == {True}
    for spec in found:
        if spec.suite:
            assert load(made, spec.suite).rules
    assert {file.stem for file in (made.tables / "replay").iterdir()} == {"bookings", "flights", "weather"}


def test_each_table_and_suite_is_there_unchanged(tmp_path: Path, reference_workspace: Workspace) -> None:
    made = make_workspace(tmp_path / "flights", empty=False)
    theirs, ours = table_files(made), table_files(reference_workspace)
    assert theirs.keys() == ours.keys()
    assert all(filecmp.cmp(theirs[name], ours[name], shallow=False) for name in ours)
    assert filecmp.cmp(made.tables / "live/flights.py", reference_workspace.tables / "live/flights.py", shallow=False)
    suites = {file.relative_to(made.expectations) for file in made.expectations.glob("*/*")}
    assert suites == {
        file.relative_to(reference_workspace.expectations) for file in reference_workspace.expectations.glob("*/*.py")
    }


def test_an_empty_one_has_folders_and_no_tables(tmp_path: Path) -> None:
    made = make_workspace(tmp_path / "mine", empty=True)
    assert len(Catalog.load(made)) == 0
    assert made.name == "mine"
    assert Settings.load(made) == Settings()
    tables = ("bronze", "silver", "gold", "reference", "live")
    for folder in (*tables, "replay", "expectations/silver", "notebooks", "apps", "tests"):
        assert (made.root / folder).is_dir(), folder
    assert "/.tidemill/" in (made.root / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", ['my "own" lake', "größe", "a$b\\c", "[x]"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    assert make_workspace(tmp_path / name, empty=True).name == name


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "mine"), "--empty"])
    assert result.exit_code == 0
    assert "tidemill new feed NAME" in result.stdout
    assert Workspace.find(tmp_path / "mine/silver").root == tmp_path / "mine"


def test_a_folder_that_is_there_and_empty_is_used(tmp_path: Path) -> None:
    assert make_workspace(tmp_path, empty=True).root == tmp_path


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_what_is_there_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "mine"
    if kind == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "precious").touch()
    with pytest.raises(ScaffoldError, match="is not an empty folder"):
        make_workspace(target, empty=True)
    assert target.read_text() == "precious" if kind == "file" else [x.name for x in target.iterdir()] == ["precious"]


def test_a_folder_below_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ScaffoldError, match="cannot be written: Not a directory"):
        make_workspace(tmp_path / "file/mine", empty=True)
