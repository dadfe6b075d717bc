"""What a service shows of itself, and writes down in the workspace, for those who connect to it; light to import."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

from lakehouse.errors import SettingsError
from lakehouse.settings import Settings
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace


def certificate(workspace: Workspace) -> Path | None:
    """Return the PEM file of what the services of a workspace show to those who connect; ``None``: they speak in plain text."""
    from lakehouse.security.authority import Shown

    shown = Shown.of(workspace, Settings.load(workspace))
    return shown.certificate if shown else None


@dataclass(frozen=True)
class WrittenDown:
    """The base of what services write down.

    Attributes:
        FILE: Name of the file in the workspace's state folder, which only the workspace's owner can read.
        UNKNOWN: What is said when the service never ran.
    """

    FILE: ClassVar[str]
    UNKNOWN: ClassVar[str]

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """Read what the service of a workspace wrote down.

        Raises:
            SettingsError: It never ran, or the file is not what it wrote.
        """
        file = cls._file(workspace)
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            raise SettingsError(cls.UNKNOWN) from None
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{file} cannot be read ({error}); delete it, and run the service again.") from error

    @classmethod
    def last(cls, workspace: Workspace) -> Self | None:
        """Read what it wrote last time; ``None`` when it never ran."""
        return cls.of(workspace) if cls._file(workspace).exists() else None

    def save(self, workspace: Workspace) -> None:
        """Write it down."""
        write_private(self._file(workspace), json.dumps(asdict(self)))

    @classmethod
    def _file(cls, workspace: Workspace) -> Path:
        return workspace.state / cls.FILE
