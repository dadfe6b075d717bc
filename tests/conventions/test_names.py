"""A table has one name everywhere, and no file grows past what one sitting can read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lakehouse.catalog import Catalog

LONGEST = 400
NOT_COUNTED = {".lock", ".toml", ".jar", ".svg", ".png", ".ipynb"}  # generated, or no text that is read line by line

# Machine paths, and hosts that packages are fetched from: they belong in locks, not in code or prose.
FORBIDDEN = re.compile(
    r"/(?:work|root|Users)/[a-z]|/home/[a-z]+/|files\.pythonhosted\.org|pypi\.org/simple|repo1\.maven\.org|repo\.maven\.apache\.org"
)
MAY_NAME_HOSTS = {"uv.lock", "LICENSE", "tests/conventions/test_names.py"}


def test_each_table_has_a_test_and_a_suite_of_its_name(root: Path, catalog: Catalog) -> None:
    for spec in catalog:
        assert (root / f"lakehouse/{spec.layer}/{spec.name}.py").is_file()
        if spec.suite:
            assert spec.suite == f"{spec.layer}/{spec.name}"
            assert list((root / "expectations" / spec.layer).glob(f"{spec.name}.*"))
        if spec.layer in ("silver", "gold"):
            assert (root / f"tests/lakehouse/{spec.layer}/test_{spec.name}.py").is_file(), spec.full_name


def test_each_suite_belongs_to_a_table(root: Path, catalog: Catalog) -> None:
    suites = {f"{file.parent.name}/{file.stem}" for file in (root / "expectations").glob("*/[!_]*.*")}
    assert suites == {spec.suite for spec in catalog if spec.suite}


def test_no_file_is_too_long(root: Path, files: list[Path]) -> None:
    lengths = {
        str(file): len((root / file).read_text(encoding="utf-8").splitlines())
        for file in files
        if file.suffix not in NOT_COUNTED and file.parts[0] != "tests" and file.name != "LICENSE" and file.parts[0] != "docs"
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_no_machine_is_named(root: Path, files: list[Path]) -> None:
    found = []
    for file in files:
        if str(file) in MAY_NAME_HOSTS or file.suffix in (".jar", ".png"):
            continue
        for number, line in enumerate((root / file).read_text(encoding="utf-8").splitlines(), 1):
            if hit := FORBIDDEN.search(line):
                found.append(f"{file}:{number}: {hit[0]}")
    assert not found


@pytest.mark.parametrize("text", ["/home/jo/x", "/root/x", "https://repo1.maven.org/maven2"])
def test_the_pattern_finds_them(text: str) -> None:
    assert FORBIDDEN.search(text)
