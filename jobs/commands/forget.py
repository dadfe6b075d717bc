"""``tidemill forget``: make a person's data unreadable, everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.console import Json, console, print_json


def forget(
    subject: Annotated[str, typer.Argument(help="What the feeds know the person by, such as an e-mail address.")],
    tenant: Annotated[str | None, typer.Option(help="At which tenant; at all of them when left out.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Destroy a person's keys, and prove that nothing of theirs can be read: in tables, their older versions, and exports.

    The exit code is 1 when something still can be, or when nobody of that name is known.

    Example: `tidemill forget ada@example.org --yes`
    """
    from contextlib import closing
    from dataclasses import asdict

    from rich.table import Table

    from lakehouse.clients import postgres_dsn
    from lakehouse.control import Control
    from lakehouse.errors import KeyringError
    from lakehouse.forgetting import forget as destroy
    from lakehouse.security.audit import Audit
    from lakehouse.settings import Settings
    from lakehouse.storage.objects import Objects
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    settings = Settings.load(workspace)
    if not yes:
        typer.confirm("What is destroyed cannot be brought back. Go on?", abort=True)
    with closing(Control(postgres_dsn(settings))) as control, closing(Audit(control, Objects(settings))) as audit:
        found = destroy(workspace, settings, control, audit, subject, tenant)
    readable = [trace for trace in found.traces if trace.readable]
    if as_json:
        print_json(asdict(found))
    else:
        table = Table("place", "theirs", "readable", title=f"{len(found.keys)} keys destroyed")
        for trace in found.traces:
            table.add_row(
                trace.place, f"{trace.found:,}", "[green]none[/]" if not trace.readable else f"[red]{trace.readable:,}[/]"
            )
        console.print(table)
        for topic in found.topics:
            console.print(
                f"Topic {topic.place} holds its {topic.found:,} records as they were sent, for as long as its retention says.",
                markup=False,
                soft_wrap=True,
            )
    if readable:
        raise KeyringError(f"{', '.join(trace.place for trace in readable)} can still be read.")
