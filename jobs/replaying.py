"""Replay several feeds at once, with a progress bar for each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

from lakehouse.catalog import Catalog
from lakehouse.settings import Settings
from lakehouse.sources.replay import ReplayResult, replay
from lakehouse.workspace import Workspace


class _EndedError(Exception):
    """A replay is to end where it is."""

    def __init__(self, result: ReplayResult) -> None:
        super().__init__()
        self.result = result


def replayable(workspace: Workspace, catalog: Catalog) -> list[str]:
    """Return the feeds of a workspace that have a replayer."""
    return [spec.name for spec in catalog.layer("bronze") if (workspace.tables / "replay" / f"{spec.name}.py").is_file()]


def replay_all(
    settings: Settings,
    workspace: Workspace,
    catalog: Catalog,
    feeds: Sequence[str] | None,
    *,
    start: datetime | None,
    end: datetime | None,
    speed: float | None,
    console: Console | None = None,
    ending: threading.Event | None = None,
) -> dict[str, ReplayResult]:
    """Replay feeds side by side; see :func:`lakehouse.sources.replay.replay`.

    Args:
        settings: Where the broker is.
        workspace: Holds the replayers.
        catalog: Its tables.
        feeds: Which feeds; all that have a replayer when empty.
        start: First moment, UTC when it has no time zone.
        end: First moment that is no more wanted, likewise.
        speed: Times faster than real time.
        console: Where the bars are drawn; none are when left out.
        ending: When it is set, the replay ends within a second, where it is; the next one goes on there.
    """
    names = list(feeds or replayable(workspace, catalog))
    columns = (TextColumn("{task.description}"), TextColumn("{task.fields[sent]:,} events"))
    rates = (TextColumn("{task.fields[rate]:,.0f}/s"), TextColumn("{task.fields[clock]}"), TimeElapsedColumn())
    shown = console is not None and console.is_terminal
    with (
        Progress(*columns, *rates, console=console, disable=not shown) as bars,
        ThreadPoolExecutor(len(names) or 1) as pool,
    ):

        def one(name: str, task: TaskID) -> ReplayResult:
            def show(now: ReplayResult) -> None:
                clock = f"{datetime.fromtimestamp(now.clock_ms / 1000, UTC):%Y-%m-%d %H:%M}" if now.clock_ms else ""
                bars.update(task, sent=now.acked, rate=now.rate, clock=clock)
                if ending is not None and ending.is_set():
                    raise _EndedError(now)

            try:
                return replay(settings, workspace, catalog, name, start=_utc(start), end=_utc(end), speed=speed, on_progress=show)
            except _EndedError as ended:
                return ended.result

        tasks = {name: bars.add_task(f"Replaying {name}", total=None, sent=0, rate=0.0, clock="") for name in names}
        futures = {name: pool.submit(one, name, task) for name, task in tasks.items()}
        return {name: future.result() for name, future in futures.items()}


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
