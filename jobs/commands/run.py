"""``tidemill run``: keep the tables up to date."""

from __future__ import annotations

import signal
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import Json, console, errors, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table

    from lakehouse.workspace import Workspace


class Lane(StrEnum):
    """What to run."""

    LAKE = "lake"
    FAST = "fast"
    HOT = "hot"
    PUSH = "push"
    GATEWAY = "gateway"


def run(
    lane: Annotated[
        Lane,
        typer.Option(
            "--lane",
            help="lake: bronze, silver, gold. fast: live tables, with a hot sink. hot: one more hot sink. push: live rows to "
            "WebSocket clients. gateway: SQL over HTTP, by the policy.",
        ),
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
    stand_by: Annotated[
        bool,
        typer.Option(
            "--stand-by", help="With --lane fast: wait, warmed up, until the lane that runs ends or dies; take over then."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Stream every feed of the workspace through bronze, silver and gold, until Ctrl-C or SIGTERM.

    One process writes a workspace's tables, and one its live tables: a second `run` is refused, or stands by. The exit code is 1
    when a table stopped.

    Example: `tidemill run --once`
    """
    from lakehouse.errors import TidemillError
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    if lane is not Lane.LAKE and (once or set_aside or accept_loss):
        raise TidemillError(f"--once, --set-aside and --accept-loss are for the lake lane, not for --lane {lane}.")
    if stand_by and lane is not Lane.FAST:
        raise TidemillError(f"--stand-by is for --lane fast, not for --lane {lane}.")
    last: Table | None = None
    match lane:
        case Lane.LAKE:
            stopped, last = _run_lake(workspace, once, set_aside or (), accept_loss or ())
        case Lane.FAST:
            stopped = _run_fast(workspace, stand_by)
        case Lane.HOT:
            stopped = _run_hot(workspace)
        case Lane.PUSH:
            stopped = _run_push(workspace)
        case Lane.GATEWAY:
            stopped = _run_gateway(workspace)
    if as_json:
        print_json({"stopped": stopped})
    elif last is not None:
        console.print(last)
    if stopped:
        raise TidemillError("\n".join(stopped.values()))


def _run_lake(
    workspace: Workspace, once: bool, set_aside: Iterable[str], accept_loss: Iterable[str]
) -> tuple[dict[str, str], Table]:
    """Run the lake lane; returns the tables that stopped, with the reason, and the last progress."""
    from jobs.commands.up import fetch_jars
    from jobs.live import LiveProgress
    from lakehouse.lanes.owner import Owner
    from lakehouse.lanes.session import owning

    fetch_jars("spark", "Fetching Spark's jars")
    with owning(workspace, "tidemill run", set_aside=set_aside, accept_loss=accept_loss) as context:
        owner = Owner(context)
        _on_signal(owner.lane.stop)
        with LiveProgress(workspace, context.settings, context.catalog, errors) as live:
            stopped = owner.run_once() if once else owner.run()
            return stopped, live.table()


def _run_fast(workspace: Workspace, stand_by: bool) -> dict[str, str]:
    """Run the fast lane with a hot sink; returns the live tables that stopped, with the reason."""
    from jobs.commands.up import fetch_jars
    from lakehouse.lanes.fast_session import fast_owning

    fetch_jars("spark", "Fetching Spark's jars")
    with fast_owning(workspace, "tidemill run --lane fast", stand_by=stand_by) as owner:
        _on_signal(owner.stop)
        if stand_by and not owner.take_over(lambda held: errors.print(f"Standing by. {held.partition(';')[0]}.")):
            return {}
        errors.print("The fast lane runs; Ctrl-C ends it.")
        return owner.run()


def _run_hot(workspace: Workspace) -> dict[str, str]:
    """Run one more hot sink; nothing of it can stop for a reason of its own."""
    from lakehouse.catalog import Catalog
    from lakehouse.clients import postgres_dsn
    from lakehouse.control import Control
    from lakehouse.lanes.fast_session import declared_tables
    from lakehouse.lanes.sink import HotSink
    from lakehouse.settings import Settings

    settings = Settings.load(workspace)
    with closing(Control(postgres_dsn(settings))) as control:
        sink = HotSink(settings, declared_tables(workspace, Catalog.load(workspace)), control)
        _on_signal(sink.stop)
        errors.print("The hot sink writes what comes; Ctrl-C ends it.")
        sink.run()
    return {}


def _run_push(workspace: Workspace) -> dict[str, str]:
    """Run the push service; nothing of it can stop for a reason of its own."""
    from lakehouse.catalog import Catalog
    from lakehouse.lanes.fast_session import declared_tables
    from lakehouse.serving.push.service import PushService
    from lakehouse.settings import Settings

    service = PushService(workspace, Settings.load(workspace), declared_tables(workspace, Catalog.load(workspace)))
    _on_signal(lambda: None)  # uvicorn ends by itself, and then raises the signal again for whoever was there before
    service.run(lambda: errors.print(f"Live rows are pushed at {service.endpoint.url}/live/FEED; Ctrl-C ends it."))
    return {}


def _run_gateway(workspace: Workspace) -> dict[str, str]:
    """Run the gateway; nothing of it can stop for a reason of its own."""
    from lakehouse.serving.gateway.service import GatewayService
    from lakehouse.settings import Settings

    service = GatewayService(workspace, Settings.load(workspace))
    _on_signal(lambda: None)
    url, flight = service.endpoint.url, service.endpoint.flight
    service.run(lambda: errors.print(f"Questions are answered at {url} (see {url}/docs) and {flight}; Ctrl-C ends it."))
    return {}


def _on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
