"""``tidemill run``: keep the tables up to date."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from jobs.console import Json, console, errors, print_json


def run(
    once: Annotated[bool, typer.Option("--once", help="Read to the end of what is there, validate, and stop.")] = False,
    set_aside: Annotated[
        list[str] | None,
        typer.Option("--set-aside", metavar="TABLE", help="Move the failing records of the next batch to the dead letters."),
    ] = None,
    accept_loss: Annotated[
        list[str] | None,
        typer.Option("--accept-loss", metavar="FEED", help="Go on although the topic no longer holds all records."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Stream every feed of the workspace through bronze, silver and gold, until Ctrl-C or SIGTERM.

    One process writes a workspace's tables: a second `run` is refused. The exit code is 1 when a table stopped.

    Example: `tidemill run --once`
    """
    from jobs.commands.up import fetch_jars
    from jobs.live import LiveProgress
    from lakehouse.errors import TidemillError
    from lakehouse.lanes.owner import Owner
    from lakehouse.lanes.session import owning
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    fetch_jars("spark", "Fetching Spark's jars")
    with owning(workspace, "tidemill run", set_aside=set_aside or (), accept_loss=accept_loss or ()) as context:
        owner = Owner(context)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: owner.lane.stop())
        with LiveProgress(workspace, context.settings, context.catalog, errors) as live:
            stopped = owner.run_once() if once else owner.run()
            last = live.table()
    if as_json:
        print_json({"stopped": stopped})
    else:
        console.print(last)
    if stopped:
        raise TidemillError("\n".join(stopped.values()))
