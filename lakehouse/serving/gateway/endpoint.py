"""Where a workspace's gateway is; light to import, for those who only connect to it."""

from __future__ import annotations

import json
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace


def gateway_url(workspace: Workspace) -> str:
    """Return where the gateway of a workspace is.

    Raises:
        SettingsError: It never ran.
    """
    try:
        return str(json.loads(_file(workspace).read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError("No gateway is known: run `tidemill run --lane gateway`.") from error


def save_url(workspace: Workspace, url: str) -> None:
    """Write it down for clients."""
    write_private(_file(workspace), json.dumps({"url": url}))


def _file(workspace: Workspace) -> Path:
    return workspace.state / "gateway.json"
