"""``tidemill audit``: the record of who saw what."""

from __future__ import annotations

from contextlib import closing

import typer

from jobs.console import Json, console, print_json

audit = typer.Typer(help="Look at the record of who saw what.", no_args_is_help=True)


@audit.command()
def verify(as_json: Json = False) -> None:
    """Prove that no entry of the audit log was changed, left out, moved or cut off; the exit code is 1 when one was.

    Example: `tidemill audit verify`
    """
    from lakehouse.clients import postgres_dsn
    from lakehouse.control import Control
    from lakehouse.errors import AuditError
    from lakehouse.security import audit as log
    from lakehouse.serving.carried import carried
    from lakehouse.settings import Settings
    from lakehouse.storage.objects import Objects
    from lakehouse.workspace import Workspace

    settings = Settings.load(Workspace.find())
    with closing(Control(postgres_dsn(settings))) as control:
        inside = carried(settings)
        count, breaks = log.verify(control, Objects(settings), inside)
    if as_json:
        print_json(
            {
                "entries": count,
                "carried": len(inside),
                "breaks": [{"writer": x.writer, "number": x.number, "what": x.what} for x in breaks],
            }
        )
    elif not breaks:
        console.print(
            f"[green]✓[/] {count:,} entries, each one bound to the one before it; the lake has {len(inside):,} of them."
        )
    if breaks:
        found = "; ".join(f"entry {x.number} of writer {x.writer} {x.what}" for x in breaks)
        raise AuditError(f"The audit log does not hold: {found}.")
