"""Where a workspace's push service is; light to import, for those who only connect to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.serving.push.access import Access
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

OLDEST = "oldest"
"""The position before all rows that the service keeps."""


@dataclass(frozen=True)
class Endpoint:
    """Where a workspace's push service is, and what lets a client in.

    Attributes:
        url: ``ws://host:port``; a feed is at ``/live/<feed>``.
        token: The secret.
    """

    url: str
    token: str

    @classmethod
    def of(cls, workspace: Workspace) -> Endpoint:
        """Read where the service of a workspace is.

        Raises:
            SettingsError: It never ran.
        """
        try:
            return cls(**json.loads(_file(workspace).read_text()))
        except FileNotFoundError:
            raise SettingsError("No push service is known: run `tidemill run --lane push`.") from None
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{_file(workspace)} cannot be read ({error}); delete it, and run the service again.") from error

    @classmethod
    def last(cls, workspace: Workspace) -> Endpoint | None:
        """Read where it was last time; ``None`` when it never ran."""
        return cls.of(workspace) if _file(workspace).exists() else None

    def save(self, workspace: Workspace) -> None:
        """Write it down for clients; only the workspace's owner can read it."""
        write_private(_file(workspace), json.dumps(asdict(self)))

    @property
    def ticket(self) -> str:
        """What a page may use in place of the token, for a minute."""
        return Access(self.token).ticket()


def _file(workspace: Workspace) -> Path:
    return workspace.state / "push.json"
