"""``tidemill run``: keep the tables up to date."""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import Json, console, errors, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakehouse.workspace import Workspace


class Lane(StrEnum):
    """What to run."""

    LAKE = "lake"
    FAST = "fast"
    HOT = "hot"


def run(
    lane: Annotated[
        Lane,
        typer.Option("--lane", help="lake: bronze, silver, gold. fast: live tables, with a hot sink. hot: one more hot sink."),
    ] = Lane.LAKE,
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

    One process writes a workspace's tables, and one its live tables: a second `run` is refused. The exit code is 1 when a table
    stopped.

    Example: `tidemill run --once`
    """
    from jobs.commands.up import fetch_jars
    from jobs.live import LiveProgress
    from lakehouse.errors import TidemillError
    from lakehouse.lanes.owner import Owner
    from lakehouse.lanes.session import owning
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    if lane is not Lane.LAKE:
        if once or set_aside or accept_loss:
            raise TidemillError(f"--once, --set-aside and --accept-loss are for the lake lane, not for --lane {lane}.")
        _run_fast(workspace, lane)
        return
    fetch_jars("spark", "Fetching Spark's jars")
    with owning(workspace, "tidemill run", set_aside=set_aside or (), accept_loss=accept_loss or ()) as context:
        owner = Owner(context)
        _on_signal(owner.lane.stop)
        with LiveProgress(workspace, context.settings, context.catalog, errors) as live:
            stopped = owner.run_once() if once else owner.run()
            last = live.table()
    if as_json:
        print_json({"stopped": stopped})
    else:
        console.print(last)
    if stopped:
        raise TidemillError("\n".join(stopped.values()))


def _run_fast(workspace: Workspace, lane: Lane) -> None:
    """Run the fast lane, or one more hot sink, until Ctrl-C or SIGTERM."""
    from jobs.commands.up import fetch_jars
    from lakehouse.catalog import Catalog
    from lakehouse.control import Control
    from lakehouse.errors import TidemillError
    from lakehouse.lanes.fast_session import declared_tables, fast_owning
    from lakehouse.lanes.sink import HotSink
    from lakehouse.settings import Settings

    if lane is Lane.HOT:
        settings = Settings.load(workspace)
        control = Control(settings.require("postgres"))
        sink = HotSink(settings, declared_tables(workspace, Catalog.load(workspace)), control)
        _on_signal(sink.stop)
        errors.print("The hot sink writes what comes; Ctrl-C ends it.")
        try:
            sink.run()
        finally:
            control.close()
        return
    fetch_jars("spark", "Fetching Spark's jars")
    with fast_owning(workspace, "tidemill run --lane fast") as owner:
        _on_signal(owner.stop)
        errors.print("The fast lane runs; Ctrl-C ends it.")
        stopped = owner.run()
    if stopped:
        raise TidemillError("\n".join(stopped.values()))


def _on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
