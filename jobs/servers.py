"""The embedded servers as people and scripts see them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from lakehouse.stack.supervisor import ServerStatus

_STYLES = {"running": "green", "external": "cyan", "stopped": "dim", "unhealthy": "red", "crashed": "red"}
_DONE = ("ready", "runs", "stopped")


class Progress:
    """One line for each server while they start or stop; plain lines when nobody watches.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, str] = {}
        self._spinners: dict[str, Spinner] = {}
        self._guard = threading.Lock()
        self._live = Live(console=console, refresh_per_second=10, transient=True) if console.is_terminal else None

    def report(self, part: str, text: str) -> None:
        """Show what happens to a server; may be called from any thread."""
        with self._guard:
            self._lines[part] = text
            if self._live is None:
                self._console.print(f"{part}: {text}", markup=False)
            else:
                self._live.update(self._view())

    def _view(self) -> Table:
        view = Table.grid(padding=(0, 1))
        for part, text in self._lines.items():
            done = text.startswith(_DONE)
            spinner = self._spinners.setdefault(part, Spinner("dots"))
            view.add_row("[green]✓[/]" if done else spinner, part, f"[dim]{text}[/]")
        return view

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()


def table(servers: Iterable[ServerStatus]) -> Table:
    """Return the servers as a table."""
    view = Table(box=None, pad_edge=False)
    for heading in ("server", "state", "address", "process"):
        view.add_column(heading)
    for server in servers:
        state = f"[{_STYLES[server.state]}]{server.state}[/]"
        view.add_row(server.part, state, server.address or "–", str(server.pid or "–"))
    return view


def as_dict(servers: Iterable[ServerStatus]) -> dict[str, Any]:
    """Return the servers for a script."""
    return {
        "servers": {
            server.part: {"state": server.state, "address": server.address, "pid": server.pid, "log": server.log}
            for server in servers
        }
    }
