"""A workspace: the folder that holds ``tidemill.toml``, tables, expectations, and the state of its embedded servers."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.errors import WorkspaceError

MARKER = "tidemill.toml"


@dataclass(frozen=True)
class Workspace:
    """One workspace on disk.

    Attributes:
        root: The folder that holds ``tidemill.toml``.
        config: The parsed ``tidemill.toml``.
    """

    root: Path
    config: dict[str, Any]

    @classmethod
    def find(cls, start: Path | None = None) -> Workspace:
        """Return the workspace at ``start`` or above it.

        Args:
            start: Where to begin; ``$TIDEMILL_WORKSPACE``, else the working directory, when left out.

        Raises:
            WorkspaceError: There is none, or its ``tidemill.toml`` is no TOML.
        """
        start = (start or Path(os.environ.get("TIDEMILL_WORKSPACE") or Path.cwd())).resolve()
        for folder in (start, *start.parents):
            if (folder / MARKER).is_file():
                return cls.load(folder)
        raise WorkspaceError(f"{start} is in no workspace (no {MARKER} here or above); `tidemill init DIR` makes one.")

    @classmethod
    def load(cls, root: Path) -> Workspace:
        """Read the workspace whose ``tidemill.toml`` is in ``root``."""
        try:
            return cls(root, tomllib.loads((root / MARKER).read_text()))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise WorkspaceError(f"{root / MARKER} cannot be read: {error}") from error

    def _folder(self, key: str, default: str) -> Path:
        return self.root / str(self.config.get("workspace", {}).get(key, default))

    @property
    def name(self) -> str:
        """The workspace's name: bucket, database and topic prefixes follow it."""
        return str(self.config.get("workspace", {}).get("name", self.root.name))

    @property
    def tables(self) -> Path:
        """The folder that holds ``bronze/``, ``silver/``, ``gold/`` and ``reference/``."""
        return self._folder("tables", ".")

    @property
    def expectations(self) -> Path:
        """The folder that holds the suites."""
        return self._folder("expectations", "expectations")

    @property
    def state(self) -> Path:
        """The folder of everything generated: credentials, server data, logs. Never in git."""
        return self.root / ".tidemill"
