"""A page to copy: one table that keeps itself fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.frame import Section, frame, keep_fresh
from lakehouse.serving.operations import Snapshot, TidemillError, Workspace, operations
from widgets.banner import Alert, banner
from widgets.grid import grid
from widgets.live import Live
from widgets.states import state

from . import data

NAME = Path(__file__).parent.name


def page(workspace: Workspace) -> Any:
    """Return the page of one visitor."""
    source = operations(workspace)
    top, table = Live(), Live()

    def show(snapshot: Snapshot) -> None:
        top.html = banner(state(snapshot.status.lane.state), snapshot.status.lane.sentence)
        top.beat = snapshot.read_at
        table.html = grid(data.COLUMNS, data.rows(snapshot), "No gold tables are declared.")

    def fail(error: TidemillError) -> None:
        top.html = banner(state("unknown"), "The figures cannot be read.", [Alert("bad", "Error", str(error))])

    keep_fresh(source.read, show, fail)
    return frame(NAME, workspace, [Section("banner", top, kind="plain"), Section("table", table, "Gold tables")])
