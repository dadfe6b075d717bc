"""``tidemill demo``: the whole workbench on recorded data, in one command."""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import console, errors

if TYPE_CHECKING:
    from lakehouse.lanes.context import Context
    from lakehouse.lanes.owner import Owner
    from lakehouse.workspace import Workspace


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Replay, stream it through all layers, print the results, and stop.")
    ] = False,
    end: Annotated[datetime | None, typer.Option(help="First moment of the recorded data that is no more wanted.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="Times faster than real time; as fast as it goes when left out.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the Operations page; a free one when 0.")] = 0,
) -> None:
    """Start the servers, replay the recorded feeds into Kafka, and stream them through bronze, silver and gold.

    The Operations page is served at the printed address until Ctrl-C.

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
    from jobs.live import LiveProgress
    from jobs.replaying import replay_all
    from lakehouse.errors import TidemillError

    served = serve(workspace, port=port)
    console.print(f"[green]✓[/] Operations page: [bold]{served.url}[/]  (Ctrl-C stops)")
    replaying = threading.Thread(
        target=lambda: replay_all(context.settings, workspace, context.catalog, None, start=None, end=end, speed=speed),
        name="replay",
        daemon=True,
    )
    replaying.start()
    told = threading.Event()

    def tell_when_through() -> None:
        """Print the account and the first answer once everything that was replayed is in gold."""
        replaying.join()
        still = 0
        while still < 3 and not told.wait(1.0):
            still = still + 1 if owner.lane.waiting else 0
        if not told.is_set():
            _answers(workspace, context)
            console.print(f"The tables follow their topics; the page is at {served.url}. Ctrl-C stops.")

    telling = threading.Thread(target=tell_when_through, name="answers", daemon=True)
    telling.start()
    try:
        with LiveProgress(workspace, context.settings, context.catalog, console):
            stopped = owner.run()
    finally:
        told.set()
        served.stop()
    if stopped:
        raise TidemillError("\n".join(stopped.values()))


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
