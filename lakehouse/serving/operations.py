"""What the Operations page reads: one status for all who look, at most every second or so."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import SecretStr

from lakehouse.catalog import Catalog
from lakehouse.control import Control
from lakehouse.errors import ServeError, TidemillError
from lakehouse.livetables import live_names
from lakehouse.settings import Settings
from lakehouse.telemetry.history import COLUMNS, history
from lakehouse.telemetry.lane import LaneStatus
from lakehouse.telemetry.ledger import open_control
from lakehouse.telemetry.reader import StatusReader
from lakehouse.telemetry.status import FeedStatus, ServerStatus, Status, TableStatus
from lakehouse.workspace import Workspace

__all__ = [
    "FeedStatus",
    "LaneStatus",
    "Operations",
    "ServeError",
    "ServerStatus",
    "Snapshot",
    "Status",
    "TableStatus",
    "TidemillError",
    "Workspace",
    "docs_folder",
    "live_names",
    "operations",
]

_MAX_AGE = 1.5


@dataclass(frozen=True)
class Snapshot:
    """One reading.

    Attributes:
        status: The status.
        history: Rate and lag of each layer; see :func:`lakehouse.telemetry.history.history`. Empty without a control database.
        docs: Whether there are Data Docs to link to.
        read_at: When it was read, in seconds since 1970.
    """

    status: Status
    history: pd.DataFrame
    docs: bool
    read_at: float


class Operations:
    """The readings of one workspace; safe to share between sessions and threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._catalog: Catalog | None = None
        self._reader: StatusReader | None = None
        self._control: Control | None = None
        self._dsn: SecretStr | None = None
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()

    @property
    def latest(self) -> Snapshot | None:
        """The last reading; ``None`` before the first."""
        return self._snapshot

    def read(self, max_age: float = _MAX_AGE) -> Snapshot:
        """Return the last reading, or a new one when it is older than ``max_age`` seconds. Takes up to some seconds then.

        Raises:
            TidemillError: The workspace's tables or settings are wrong.
        """
        with self._lock:
            if self._snapshot is None or time.time() - self._snapshot.read_at > max_age:
                self._snapshot = self._read()
            return self._snapshot

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None

    def _read(self) -> Snapshot:
        if self._catalog is None or self._reader is None:
            self._catalog = Catalog.load(self._workspace)
            self._reader = StatusReader(self._workspace, self._catalog)
        read_at = time.time()
        settings = Settings.load(self._workspace)
        status = self._reader.read(settings, self._connect(settings))
        ledger = self._reader.ledger
        figures = history(ledger, status, self._catalog) if ledger else pd.DataFrame(columns=COLUMNS)
        return Snapshot(status, figures, (docs_folder(self._workspace) / "index.html").is_file(), read_at)

    def _connect(self, settings: Settings) -> Control | None:
        """Return the control database; one that was away, or came back elsewhere, is tried again at each reading."""
        dsn = settings.postgres.dsn
        if self._control is not None and dsn != self._dsn:
            self._control.close()
            self._control = None
        if self._control is None:
            self._control, self._dsn = open_control(settings), dsn
        return self._control


_shared: dict[Path, Operations] = {}
_sharing = threading.Lock()


def operations(workspace: Workspace) -> Operations:
    """Return the readings of a workspace, the same ones for all who ask in this process."""
    with _sharing:
        if workspace.root not in _shared:
            _shared[workspace.root] = Operations(workspace)
        return _shared[workspace.root]


def docs_folder(workspace: Workspace) -> Path:
    """Return the folder of the Data Docs, which may not be there yet."""
    return workspace.state / "gx" / "uncommitted" / "data_docs" / "local_site"
