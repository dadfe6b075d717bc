"""Which pages there are: every ``apps/<name>/page.py`` with a function ``page``, of Tidemill and of the workspace."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lakehouse.serving.operations import Workspace

Page = Callable[[Workspace], Any]

TEMPLATE = "template"
_OWN = Path(__file__).parent


def page_files(workspace: Workspace) -> dict[str, Path]:
    """Return name → ``page.py`` of all pages, in the order of their names; a workspace's page wins over Tidemill's."""
    found = {file.parent.name: file for folder in (_OWN, workspace.root / "apps") for file in folder.glob("*/page.py")}
    return {name: found[name] for name in sorted(found) if name != TEMPLATE and not name.startswith(("_", "."))}


def titles(workspace: Workspace) -> dict[str, str]:
    """Return name → title of all pages, for the links between them."""
    return {name: name.replace("_", " ").capitalize() for name in page_files(workspace)}


def load_pages(workspace: Workspace) -> dict[str, Page]:
    """Import all pages.

    Raises:
        AttributeError: A ``page.py`` has no function ``page``.
    """
    return {name: _load(name, file).page for name, file in page_files(workspace).items()}


def _load(name: str, file: Path) -> ModuleType:
    if file.parent.parent == _OWN:
        return importlib.import_module(f"apps.{name}.page")
    # A package of its own, so that `from .data import …` finds the file beside it.
    package = f"tidemill_pages.{name}"
    for known in _known(package):
        del sys.modules[known]
    sys.modules.setdefault("tidemill_pages", ModuleType("tidemill_pages"))
    made = ModuleType(package)
    made.__path__ = [str(file.parent)]
    sys.modules[package] = made
    return importlib.import_module(f"{package}.page")


def _known(package: str) -> Iterator[str]:
    return iter([name for name in sys.modules if name == package or name.startswith(f"{package}.")])
