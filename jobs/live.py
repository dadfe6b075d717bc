"""The lanes' progress on a terminal: one line a table, drawn in place; plain lines when nobody watches."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import psycopg
from rich.console import Console
from rich.live import Live
from rich.table import Table

from lakehouse.catalog import Catalog
from lakehouse.clients import postgres_dsn
from lakehouse.control import Control
from lakehouse.settings import Settings
from lakehouse.telemetry.reader import StatusReader
from lakehouse.telemetry.status import Status
from lakehouse.workspace import Workspace

_STYLES = {"running": "green", "done": "green", "paused": "yellow", "stopped": "red", "idle": "dim"}


class LiveProgress:
    """Draws the progress until it is left; a context manager.

    Args:
        workspace: Whose tables are shown.
        settings: Where the control database and the broker are.
        catalog: The tables to show.
        console: Where to draw.
        plain_every: Seconds between two plain reports when the console is no terminal.
    """

    def __init__(
        self, workspace: Workspace, settings: Settings, catalog: Catalog, console: Console, plain_every: float = 15.0
    ) -> None:
        self._settings, self._console = settings, console
        self._reader = StatusReader(workspace, catalog)
        self._control = Control(postgres_dsn(settings))
        self._plain_every = plain_every
        self._stop = threading.Event()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._thread = threading.Thread(target=self._draw_forever, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()
        self._control.close()

    def table(self) -> Table:
        """Return the present progress."""
        return progress_table(self._reader.read(self._settings, self._control))

    def _draw_forever(self) -> None:
        drawn = time.monotonic()
        while not self._stop.wait(1.5):
            try:
                if self._live is not None:
                    self._live.update(self.table(), refresh=True)
                elif time.monotonic() - drawn >= self._plain_every:
                    drawn = time.monotonic()
                    self._console.print(self.table())
            except psycopg.OperationalError:
                continue  # the control database is away; the lanes pause too


def progress_table(status: Status) -> Table:
    """Return the progress of the tables that have a query, for people."""
    view = Table(box=None, pad_edge=False)
    view.add_column("table")
    for heading in ("rows", "rows/s", "lag", "time left"):
        view.add_column(heading, justify="right")
    view.add_column("state")
    for name, table in status.tables.items():
        if table.layer == "reference":
            continue
        rate = table.rows_per_second or 0.0
        left = "–" if table.lag is None or (table.lag and not rate) else _duration(table.lag / rate if table.lag else 0)
        cells = ["–" if number is None else f"{number:,.0f}" for number in (table.rows, table.rows_per_second, table.lag)]
        state = f"[{_STYLES.get(table.state, 'dim')}]{table.state}[/]" + (
            f" [dim]{table.sentence[:90]}[/]" if table.sentence else ""
        )
        view.add_row(name, *cells, left, state)
    return view


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}h {minutes % 60:02}m" if minutes >= 60 else f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
