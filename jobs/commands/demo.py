"""``tidemill demo``: the whole workbench on recorded data, in one command."""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import console, errors

_PRESENT_SPEED = 60.0  # times faster than real time

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakehouse.lanes.context import Context
    from lakehouse.lanes.owner import Owner
    from lakehouse.workspace import Workspace


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Replay, stream it through all layers, print the results, and stop.")
    ] = False,
    end: Annotated[datetime | None, typer.Option(help="First moment of the recorded data that is no more wanted.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.01, help="Times faster than real time. Left out: as fast as it goes, then the last days at 60."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the Operations page; a free one when 0.")] = 0,
) -> None:
    """Start the servers, replay the recorded feeds into Kafka, and stream them through bronze, silver and gold.

    The fast lane and the push service run beside it, and the pages are served at the printed address, until Ctrl-C.

    Example: `tidemill demo --end 2013-02-01`
    """
    from jobs.commands.up import fetch_jars, up
    from lakehouse.lanes.owner import Owner
    from lakehouse.lanes.session import owning
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    up()
    fetch_jars("spark", "Fetching Spark's jars")
    with errors.status("Starting the Spark driver …"):
        opened = owning(workspace, "tidemill demo")
        context = opened.__enter__()
    try:
        owner = Owner(context)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: owner.lane.stop())
        if once:
            _once(workspace, context, owner, end)
        else:
            _until_stopped(workspace, context, owner, end, speed, port)
    finally:
        opened.__exit__(None, None, None)


def _once(workspace: Workspace, context: Context, owner: Owner, end: datetime | None) -> None:
    from jobs.live import LiveProgress
    from jobs.replaying import replay_all
    from lakehouse.errors import TidemillError

    results = replay_all(context.settings, workspace, context.catalog, None, start=None, end=end, speed=None, console=errors)
    for name, result in results.items():
        console.print(f"[green]✓[/] {name}: {result.acked:,} events published, {result.skipped:,} were there already.")
    with LiveProgress(workspace, context.settings, context.catalog, console) as live:
        stopped = owner.run_once()
        console.print(live.table())
    _answers(workspace, context)
    if stopped:
        raise TidemillError("\n".join(stopped.values()))


def _until_stopped(
    workspace: Workspace, context: Context, owner: Owner, end: datetime | None, speed: float | None, port: int
) -> None:
    from apps.serve import serve
    from jobs.beside import Beside
    from jobs.live import LiveProgress
    from jobs.replaying import replay_all
    from lakehouse.errors import TidemillError
    from lakehouse.livetables import live_files

    served = serve(workspace, port=port)
    console.print(f"[green]✓[/] Operations page: [bold]{served.url}[/]  (Ctrl-C stops)")
    ending = threading.Event()
    present = None if speed else _present(workspace, end)

    def replay(start: datetime | None, end: datetime | None, speed: float | None) -> None:
        replay_all(context.settings, workspace, context.catalog, None, start=start, end=end, speed=speed, ending=ending)

    def until(true: Callable[[], bool], seconds: int = 1) -> None:
        """Wait until something is true for some seconds, or the demo ends."""
        still = 0
        while still < seconds and not ending.wait(1.0):
            still = still + 1 if true() else 0

    def start_fast_lane(beside: Beside) -> None:
        if live_files(workspace) and not ending.is_set():
            beside.start("push")
            beside.start("fast")
            console.print(f"[green]✓[/] The fast lane starts: [bold]{served.page('live')}[/] shows rows as they come")

    def go_on(beside: Beside) -> None:
        """Replay what is past, print the account and the first answer, and replay the present; the fast lane comes second."""
        past = threading.Thread(target=replay, args=(None, present or end, speed), name="replay", daemon=True)
        past.start()
        if speed:
            until(lambda: _has_gold(context))
            start_fast_lane(beside)
        until(lambda: not past.is_alive())
        until(lambda: owner.lane.waiting, seconds=3)
        if not ending.is_set():
            _answers(workspace, context)
            console.print(f"The tables follow their topics; the page is at {served.url}. Ctrl-C stops.")
        if not speed:
            start_fast_lane(beside)
        if present is not None and not ending.is_set():
            replay(present, end, _PRESENT_SPEED)

    with Beside(workspace) as beside:
        threading.Thread(target=go_on, args=[beside], name="demo", daemon=True).start()
        try:
            with LiveProgress(workspace, context.settings, context.catalog, console):
                stopped = owner.run()
        finally:
            ending.set()
            served.stop()
    if stopped:
        raise TidemillError("\n".join(stopped.values()))


def _present(workspace: Workspace, end: datetime | None) -> datetime | None:
    """Return from when on the recorded data is replayed as if it happened now; ``None`` when nothing is."""
    found: datetime | None = workspace.config.get("demo", {}).get("present")
    return found if found is not None and (end is None or found.replace(tzinfo=None) < end.replace(tzinfo=None)) else None


def _has_gold(context: Context) -> bool:
    return any(context.control.batches(spec.full_name, 1) for spec in context.catalog.layer("gold"))


def _answers(workspace: Workspace, context: Context) -> None:
    """Print the account of each feed, and the answer to the workspace's own question."""
    from jobs.commands.account import feed_table
    from jobs.commands.query import footer, show
    from lakehouse.account import account
    from lakehouse.catalog import table_files
    from lakehouse.serving.query import run_query
    from lakehouse.serving.tables import lake_locator

    feeds = [spec.name for spec in context.catalog.layer("bronze")]
    console.print("\n[bold]The account[/]: where each record is")
    console.print(feed_table([account(context.settings, context.catalog, context.control, feed) for feed in feeds]))
    if question := workspace.config.get("demo", {}).get("query"):
        result = run_query(question, table_files(workspace), lake_locator(context.settings))
        console.print("\n[bold]A first answer from gold[/]")
        console.print(question.strip(), style="dim", markup=False)
        show(result)
        console.print(footer(result), style="dim")
