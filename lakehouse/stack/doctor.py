"""What this machine and workspace lack, and how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil

from lakehouse.errors import StackError, TidemillError
from lakehouse.jvm.jars import cache_dir, locked, missing
from lakehouse.security.authority import Authority
from lakehouse.settings import Settings
from lakehouse.stack import door, java, postgres, s3, valkey
from lakehouse.stack.ports import is_free
from lakehouse.stack.state import StackState
from lakehouse.stack.supervisor import status
from lakehouse.workspace import Workspace

Verdict = Literal["ok", "warn", "fail"]
_PYTHONS = ((3, 11), (3, 12))
_MEMORY_GB = (4, 8)
_DISK_GB = (1, 10)
_DAYS = 30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        verdict: ``fail`` when Tidemill cannot run so, ``warn`` when it can.
        found: What was found.
        fix: How to mend it; empty when there is nothing to mend.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def examine(workspace: Workspace | None) -> list[Check]:
    """Look at the machine, and at a workspace when there is one.

    Args:
        workspace: Whose servers and folders; None looks at the machine only.
    """
    checks = [_python(), _java(), _memory(), *_programs(), *_jars(), _chromium()]
    if workspace is None:
        fix = "change into a workspace, or make one with `tidemill init DIR`."
        return [*checks, _disk(Path.cwd()), Check("workspace", "warn", "none here", fix)]
    return [*checks, _disk(workspace.root), _settings(workspace), _writable(workspace.root), *_stack(workspace)]


def _python() -> Check:
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if sys.version_info[:2] in _PYTHONS:
        return Check("python", "ok", found)
    return Check("python", "fail", found, "use Python 3.11 or 3.12.")


def _java() -> Check:
    try:
        program = java.require()
        return Check("java", "ok", f"{java.version(program)} ({program})")
    except StackError as error:
        found, _, fix = str(error).partition(": ")
        return Check("java", "fail", found, fix)


def _memory() -> Check:
    total = psutil.virtual_memory().total / 2**30
    return _enough("memory", total, _MEMORY_GB, "close other programs, or lower TIDEMILL_LAKE__DRIVER_MEMORY.")


def _disk(folder: Path) -> Check:
    return _enough("disk", shutil.disk_usage(folder).free / 2**30, _DISK_GB, f"free some space where {folder} lies.")


def _enough(name: str, found: float, need: tuple[int, int], fix: str) -> Check:
    least, good = need
    if found >= good:
        return Check(name, "ok", f"{found:.0f} GiB")
    return Check(name, "warn" if found >= least else "fail", f"{found:.1f} GiB, and {good} are comfortable", fix)


def _programs() -> Iterator[Check]:
    finders: dict[str, Callable[[], Path]] = {
        "s3 program": s3.binary,
        "postgres program": postgres.binary,
        "valkey program": valkey.binary,
        "tls program": door.binary,
    }
    for name, find in finders.items():
        try:
            yield Check(name, "ok", str(find()))
        except StackError as error:
            found, _, fix = str(error).partition(": ")
            yield Check(name, "warn" if name == "tls program" else "fail", found, fix)  # only `up --secure` needs it


def _jars() -> Iterator[Check]:
    for name in ("kafka", "spark"):
        total, absent = len(locked(name)), len(missing(name))
        if absent:
            fix = "they are fetched when needed; that takes a network, once."
            yield Check(f"{name} jars", "warn", f"{absent} of {total} are not in {cache_dir()}", fix)
        else:
            yield Check(f"{name} jars", "ok", f"{total} in {cache_dir()}")


def _chromium() -> Check:
    names = ("chromium", "chromium-browser", "google-chrome")
    if found := next(filter(None, map(shutil.which, names)), None):
        return Check("chromium", "ok", found)
    return Check("chromium", "warn", "not found", "only the browser tests need it (`apt install chromium`).")


def _settings(workspace: Workspace) -> Check:
    try:
        Settings.load(workspace)
        return Check("settings", "ok", str(workspace.root / "tidemill.toml"))
    except TidemillError as error:
        return Check("settings", "fail", str(error), "correct it in tidemill.toml or in the environment.")


def _writable(folder: Path) -> Check:
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("workspace", "ok", f"{folder} can be written")
    return Check("workspace", "fail", f"{folder} cannot be written", "change its owner or permissions, or copy it elsewhere.")


def _certificate(workspace: Workspace) -> Check:
    shown = Authority(workspace).shown()
    if shown is None:
        return Check("certificate", "fail", "there is none", "`tidemill up` makes it.")
    left = (shown.not_valid_after_utc - datetime.now(UTC)).days
    if left < _DAYS:
        return Check("certificate", "warn" if left > 0 else "fail", f"{left} days are left", "`tidemill up` renews it.")
    return Check("certificate", "ok", f"{left} days are left")


def _stack(workspace: Workspace) -> Iterator[Check]:
    try:
        servers, state = status(workspace), StackState.load(workspace)
    except TidemillError as error:
        yield Check("servers", "fail", str(error), "`tidemill down --wipe` starts afresh.")
        return
    if state.secure:
        yield _certificate(workspace)
    for server in servers:
        found = f"{server.state} {server.address or ''}".rstrip()
        if server.state == "crashed":
            yield Check(server.part, "warn", found, f"`tidemill up` starts it again; its log is {server.log}.")
        elif server.state == "unhealthy":
            yield Check(server.part, "warn", found, f"`tidemill up` restarts it; its log is {server.log}.")
        elif server.state == "stopped" and (taken := [p for p in state.ports.get(server.part, {}).values() if not is_free(p)]):
            ports = ", ".join(map(str, taken))
            yield Check(server.part, "warn", f"stopped, and others listen on {ports}", "`tidemill up` takes other ports.")
        else:
            yield Check(server.part, "ok", found)
