"""``tidemill status``: how everything fares."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from jobs.console import Json, console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from lakehouse.telemetry.status import Status

_STYLES = {
    "running": "green",
    "external": "cyan",
    "done": "green",
    "loaded": "green",
    "paused": "yellow",
    "stopped": "red",
    "unhealthy": "red",
    "crashed": "red",
}


def status(as_json: Json = False) -> None:
    """Show the servers, the tables with their rate and lag, and where each feed's records are.

    Each figure is counted on its own: rows by the tables' logs, records in flight by Kafka's offsets. Nothing is started and
    nothing is changed.

    Example: `tidemill status`
    """
    from lakehouse.catalog import Catalog
    from lakehouse.settings import Settings
    from lakehouse.telemetry.ledger import open_control
    from lakehouse.telemetry.reader import StatusReader
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    settings = Settings.load(workspace)
    control = open_control(settings)
    try:
        found = StatusReader(workspace, Catalog.load(workspace)).read(settings, control)
    finally:
        if control is not None:
            control.close()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    for part in _views(found):
        console.print(part, soft_wrap=isinstance(part, str))


def _views(found: Status) -> Iterator[RenderableType]:
    from rich.markup import escape

    for note in found.notes:
        yield f"[yellow]![/] {escape(note)}"
    for lane in filter(None, (found.lane, found.fast_lane)):
        mark = "[green]●[/]" if lane.state == "running" else "[dim]○[/]"
        yield f"{mark} {escape(lane.sentence)}"
    yield ""
    yield _servers(found)
    yield ""
    yield _tables(found)
    for name, table in found.tables.items():
        if table.sentence and table.state in ("paused", "stopped"):
            yield f"[{_STYLES[table.state]}]{name} is {table.state}:[/] {escape(table.sentence)}"
    if found.live:
        yield ""
        yield _live(found)
    for name, live in found.live.items():
        if live.sentence and live.state in ("running", "paused", "stopped"):
            yield f"[{_STYLES[live.state]}]live.{name} is {live.state}:[/] {escape(live.sentence)}"
        if live.sink_sentence and live.sink == "paused":
            yield f"[yellow]The hot sink of live.{name} waits:[/] {escape(live.sink_sentence)}"
    if any(live.latency for live in found.live.values()):
        yield ""
        yield _latency(found)
    yield ""
    yield _feeds(found)
    for feed, status in found.feeds.items():
        for reason, records in status.reasons.items():
            yield f"[dim]{escape(feed)}: {records:,} dead letters: {escape(reason)}[/]"
    for feed, fields in found.undeclared_fields.items():
        named = ", ".join(f"{escape(field)} ({records:,})" for field, records in fields.items())
        yield f"[yellow]![/] {escape(feed)} has fields that nobody declared: {named}"


def _servers(found: Status) -> RenderableType:
    from rich.table import Table

    view = Table("server", "state", "address", "process", box=None, pad_edge=False)
    for part, server in found.servers.items():
        view.add_row(part, _styled(server.state), server.address or "–", str(server.pid or "–"))
    return view


def _tables(found: Status) -> RenderableType:
    from rich.table import Table

    view = Table(box=None, pad_edge=False)
    view.add_column("table", no_wrap=True)
    view.add_column("state")
    for heading in ("rows", "rows/s", "lag", "last batch"):
        view.add_column(heading, justify="right", no_wrap=True)
    for name, table in found.tables.items():
        batch = table.last_batch
        view.add_row(
            name,
            _styled(table.state),
            _number(table.rows),
            _number(table.rows_per_second),
            _number(table.lag),
            _ago(found.at, batch.at) if batch else "–",
        )
    return view


def _live(found: Status) -> RenderableType:
    from rich.table import Table

    view = Table("live table", "query", "hot sink", "computed", "behind", box=None, pad_edge=False)
    for name, live in found.live.items():
        computed = _ago(found.at, live.as_of) if live.as_of else "–"
        behind = "–" if live.behind_seconds is None else f"{live.behind_seconds:,.0f} s"
        view.add_row(f"live.{name}", _styled(live.state), _styled(live.sink), computed, behind)
    return view


def _latency(found: Status) -> RenderableType:
    from rich.table import Table

    view = Table(box=None, pad_edge=False)
    for heading in ("age, last minute", "hop"):
        view.add_column(heading, no_wrap=True)
    for heading in ("p50", "p95", "p99", "max", "rows"):
        view.add_column(heading, justify="right", no_wrap=True)
    for name, live in found.live.items():
        for number, (hop, seen) in enumerate(live.latency.items()):
            ages = (_age(age) for age in (seen.p50_ms, seen.p95_ms, seen.p99_ms, seen.max_ms))
            view.add_row("" if number else f"live.{name}", hop.replace("_to_", " → "), *ages, _number(seen.rows))
    return view


def _feeds(found: Status) -> RenderableType:
    from rich.table import Table

    view = Table("feed", box=None, pad_edge=False)
    for heading in ("read", "silver", "dead letters", "duplicates", "in flight"):
        view.add_column(heading, justify="right")
    for name, feed in found.feeds.items():
        figures = (feed.read, feed.silver, feed.dead_letters, feed.duplicates, feed.in_flight)
        view.add_row(name, *(_number(figure) for figure in figures))
    return view


def _styled(state: str) -> str:
    return f"[{_STYLES.get(state, 'dim')}]{state}[/]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _age(milliseconds: float) -> str:
    if milliseconds < 1_000:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 100_000 else f"{milliseconds / 1000:,.0f} s"


def _ago(now: datetime, then: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
