"""``tidemill replay``: publish recorded data as events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from jobs.console import Json, console, errors, print_json


def replay(
    feeds: Annotated[list[str] | None, typer.Argument(help="Feeds to replay; all that have a replayer when left out.")] = None,
    start: Annotated[datetime | None, typer.Option(help="First moment (UTC); the beginning of the data when left out.")] = None,
    end: Annotated[datetime | None, typer.Option(help="First moment no more wanted; the end when left out.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="Times faster than real time; as fast as the broker can when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish recorded events into a feed's topic, in the order in which they happened.

    A replay that was cut off goes on where the topic ends.

    Example: `tidemill replay flights --end 2013-02-01`
    """
    from dataclasses import asdict

    from jobs.replaying import replay_all
    from lakehouse.catalog import Catalog
    from lakehouse.settings import Settings
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    results = replay_all(
        Settings.load(workspace), workspace, Catalog.load(workspace), feeds, start=start, end=end, speed=speed, console=errors
    )
    if as_json:
        print_json({"feeds": {name: asdict(result) for name, result in results.items()}})
        return
    for name, result in results.items():
        console.print(f"{name}: {result.acked:,} events published, {result.skipped:,} were there already.")
