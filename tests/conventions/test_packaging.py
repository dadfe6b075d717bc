"""What is shipped is what git holds; conda and pip install the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

PACKAGES = ("apps", "expectations", "jobs", "lakehouse", "widgets")


@pytest.fixture(scope="module")
def project(root: Path) -> Any:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_the_packages_are_listed_by_name(root: Path, project: Any) -> None:
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(listed) == list(PACKAGES)
    for package in PACKAGES:
        assert (root / package / "__init__.py").is_file(), package


def test_the_wheel_holds_what_git_holds(root: Path, files: list[Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    for file in files:  # as a clean clone: what lies about in the checkout must make no difference
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, source / file)
    command = [str(shutil.which("uv") or root / ".venv/bin/uv"), "build", "--wheel", "--quiet", "--out-dir", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True)
    (wheel,) = tmp_path.glob("tidemill-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {file.as_posix() for file in files if file.parts[0] in PACKAGES}
    assert names >= {"lakehouse/jvm/jars.lock.toml", "lakehouse/jvm/tidemill-jvm.jar", "jobs/templates/feed/silver.py.tmpl"}


def test_conda_installs_the_pins_of_pyproject(root: Path, project: Any) -> None:
    environment = YAML(typ="safe").load((root / "environment.yml").read_text())
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert [x for x in pip if x != "-e ."] == project["project"]["dependencies"]
    plain = [item for item in environment["dependencies"] if isinstance(item, str)]
    assert "python=3.11" in plain
    assert "openjdk=17" in plain


def test_make_bootstraps_the_uv_that_the_lock_holds(root: Path, project: Any) -> None:
    (wanted,) = re.findall(r"^UV_VERSION := (\S+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert f"uv=={wanted}" in project["dependency-groups"]["dev"]
