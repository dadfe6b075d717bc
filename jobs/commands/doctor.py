"""``tidemill doctor``: what is missing here, and how to mend it."""

from __future__ import annotations

import typer

from jobs.console import Json, console, print_json

_MARKS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}


def doctor(as_json: Json = False) -> None:
    """Say what is missing on this machine or wrong in this workspace, and how to mend it.

    The exit code is 1 when something that Tidemill cannot do without is missing.

    Example: `tidemill doctor`
    """
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from lakehouse.errors import WorkspaceError
    from lakehouse.stack.doctor import examine
    from lakehouse.workspace import Workspace

    try:
        workspace = Workspace.find()
    except WorkspaceError:
        workspace = None
    checks = examine(workspace)
    failed = any(check.verdict == "fail" for check in checks)
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        view = Table.grid(padding=(0, 2))
        for _ in range(3):
            view.add_column(overflow="fold")
        for check in checks:
            fix = f"\n[bold]→ {escape(check.fix)}[/]" if check.fix else ""
            view.add_row(_MARKS[check.verdict], check.name, escape(check.found) + fix)
        console.print(view)
    if failed:
        raise typer.Exit(1)
