"""``tidemill down``: stop the embedded servers."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import errors


def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Erase the data too, after a question.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without the question.")] = False,
) -> None:
    """Stop the embedded servers; their data stays, unless it is wiped.

    Example: `tidemill down --wipe`
    """
    from jobs.servers import Progress
    from lakehouse.stack import supervisor
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    if wipe and not yes:
        question = f"Erase all data, credentials and logs in {workspace.state}?"
        typer.confirm(question, abort=True, err=True)
    with Progress(errors) as progress:
        supervisor.down(workspace, wipe, progress.report)
    kept = f"Erased {workspace.state}." if wipe else f"Stopped; the data stays in {workspace.state / 'data'}."
    errors.print(kept, markup=False, soft_wrap=True)
