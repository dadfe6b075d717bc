"""Where a workspace's gateway is; light to import, for those who only connect to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace


@dataclass(frozen=True)
class Endpoint:
    """Where a workspace's gateway is.

    Attributes:
        url: Over HTTP: ``http://host:port``.
        flight: Over Arrow Flight SQL: ``grpc://host:port``.
    """

    url: str
    flight: str

    @classmethod
    def of(cls, workspace: Workspace) -> Endpoint:
        """Read where the gateway of a workspace is.

        Raises:
            SettingsError: It never ran.
        """
        try:
            return cls(**json.loads(_file(workspace).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError("No gateway is known: run `tidemill run --lane gateway`.") from error

    def save(self, workspace: Workspace) -> None:
        """Write it down for clients."""
        write_private(_file(workspace), json.dumps(asdict(self)))


def _file(workspace: Workspace) -> Path:
    return workspace.state / "gateway.json"
