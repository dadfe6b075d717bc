"""Make workspaces, and what is added to them, from the files that ship with Tidemill."""

from __future__ import annotations

import json
import keyword
import re
import shutil
from pathlib import Path
from string import Template

import apps
import expectations
import lakehouse
from lakehouse.catalog import LAYERS, table_files
from lakehouse.errors import ScaffoldError
from lakehouse.workspace import MARKER, Workspace

_TEMPLATES = Path(__file__).with_name("templates")
_FOLDERS = (*LAYERS, "live", "replay", "expectations/silver", "expectations/gold", "notebooks", "apps", "tests")
_REPLAYERS = ("bookings", "flights", "weather")

TEMPLATE = "template"
"""Name of the page to copy; it is not served."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


def make_workspace(folder: Path, *, empty: bool) -> Workspace:
    """Make a workspace.

    Args:
        folder: Where; made when it is not there.
        empty: Whether to leave the reference tables out.

    Raises:
        ScaffoldError: The folder holds something, or cannot be written.
    """
    folder = folder.resolve()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ScaffoldError(f"{folder} is not an empty folder; name one that is, or one that is not there yet.")
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True)
        names = {"heading": folder.name, "quoted": json.dumps(folder.name, ensure_ascii=False)}
        for template, target in (("README.md", "README.md"), ("gitignore", ".gitignore"), ("conftest.py", "tests/conftest.py")):
            _write(f"workspace/{template}", folder / target, names)
        if empty:
            for name in ("policy.yml", "users.yml"):
                _write(f"workspace/{name}", folder / name, names)
        else:
            _copy_reference(folder)
        _write("workspace/tidemill.toml", folder / MARKER, names)  # last: what was cut off before is no workspace
    except OSError as error:
        raise ScaffoldError(f"{folder} cannot be written: {error.strerror}.") from error
    return Workspace.load(folder)


def make_feed(workspace: Workspace, name: str) -> list[Path]:
    """Add a feed that reads JSON records from the topic of its name.

    Args:
        workspace: Where.
        name: Of the feed, its topic, its tables and its suite.

    Returns:
        The files that were written.

    Raises:
        ScaffoldError: The name cannot be used, or a file of that name is there.
    """
    _check_name("feed", name)
    targets = {
        "bronze": workspace.tables / f"bronze/{name}.py",
        "silver": workspace.tables / f"silver/{name}.py",
        "gold": workspace.tables / f"gold/{name}_by_hour.py",
        "suite": workspace.expectations / f"silver/{name}.py",
        "test": workspace.root / f"tests/test_{name}.py",
    }
    there = [file for file in targets.values() if file.exists()]
    there += [table for table in table_files(workspace).values() if table.stem == name and table not in there]
    if there:
        raise ScaffoldError(f"{there[0]} is there already; choose another name, or delete it first.")
    written = []
    try:
        for template, target in targets.items():
            _write(f"feed/{template}.py", target, {"name": name, "title": name.replace("_", " ").capitalize()})
            written.append(target)
        if not (shared := workspace.root / "tests/conftest.py").exists():
            _write("workspace/conftest.py", shared, {})
            written.append(shared)
    except OSError as error:
        for file in written:
            file.unlink()
        raise ScaffoldError(f"{error.filename} cannot be written: {error.strerror}.") from error
    return written


def make_page(workspace: Workspace, name: str) -> list[Path]:
    """Add a page: a copy of Tidemill's page template.

    Args:
        workspace: Where.
        name: Of the page; its address and its title.

    Returns:
        The files that were written.

    Raises:
        ScaffoldError: The name cannot be used, or a page of that name is there.
    """
    _check_name("page", name)
    source, target = Path(apps.__file__).parent / TEMPLATE, workspace.root / "apps" / name
    if target.exists() or name == TEMPLATE:
        raise ScaffoldError(f"{target} is there already; choose another name, or delete it first.")
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise ScaffoldError(f"{target} cannot be written: {error.strerror or error}.") from error
    return sorted(file for file in target.rglob("*") if file.is_file())


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ScaffoldError(
            f"{name!r} is no name for a {what}: use lower-case letters, digits and underscores, a letter first, "
            "no word of Python's."
        )


def _copy_reference(folder: Path) -> None:
    source = Path(lakehouse.__file__).parent
    files = {file: f"{layer}/{file.name}" for layer in (*LAYERS, "live") for file in (source / layer).glob("[!_]*.py")}
    files |= {source / name: name for name in ("policy.yml", "users.yml")}
    files |= {source / f"replay/{name}.py": f"replay/{name}.py" for name in _REPLAYERS}
    suites = Path(expectations.__file__).parent
    files |= {file: f"expectations/{file.relative_to(suites)}" for file in suites.glob("*/[!_]*") if file.is_file()}
    for file, target in files.items():
        shutil.copyfile(file, folder / target)


def _write(template: str, target: Path, names: dict[str, str]) -> None:
    text = (_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template(text).substitute(names), encoding="utf-8")
