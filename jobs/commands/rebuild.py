"""``tidemill rebuild``: reprocess a table after its code or its suite changed."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from jobs.console import Json, console, errors, print_json


def rebuild(
    table: Annotated[str, typer.Argument(help="`layer.table`, silver or gold.", metavar="TABLE")],
    as_json: Json = False,
) -> None:
    """Compute a table again from its input, all of it; readers see the old version until the new one is whole.

    A silver table that reads a feed is judged again from bronze, with its dead letters and duplicates. While `tidemill run` owns the
    tables, it does the work, and this command waits for it.

    Example: `tidemill rebuild gold.routes`
    """
    from lakehouse.catalog import Catalog
    from lakehouse.clients import postgres_dsn
    from lakehouse.control import Control
    from lakehouse.errors import LeaseHeldError, TidemillError
    from lakehouse.settings import Settings
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    spec = Catalog.load(workspace)[table]
    if spec.layer not in ("silver", "gold"):
        raise TidemillError(f"{table} holds what came in; there is nothing to rebuild it from. Rebuild a silver or gold table.")
    try:
        rows = _here(workspace, table)
    except LeaseHeldError as held:
        errors.print(f"[dim]{held}[/]\n[dim]It is asked to rebuild {table} …[/]", soft_wrap=True)
        control = Control(postgres_dsn(Settings.load(workspace)))
        request = control.ask("rebuild", table)
        state, message = control.request_state(request)
        while state in ("waiting", "running"):
            time.sleep(0.5)
            state, message = control.request_state(request)
        if state == "failed":
            raise TidemillError(message) from held
        rows = int(message.split()[0].replace(",", ""))
    if as_json:
        print_json({"table": table, "rows": rows})
    else:
        console.print(f"[green]✓[/] {table} rebuilt: {rows:,} rows.")


def _here(workspace: object, table: str) -> int:
    from lakehouse.lanes.lake import LakeLane
    from lakehouse.lanes.session import owning
    from lakehouse.workspace import Workspace

    assert isinstance(workspace, Workspace)
    with owning(workspace, f"tidemill rebuild {table}") as context, errors.status(f"Rebuilding {table} …"):
        return LakeLane(context).rebuild(table)
