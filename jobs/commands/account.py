"""``tidemill account``: where each record of a feed is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Json, console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from lakehouse.account import FeedAccount, Violation


def account(
    feed: Annotated[str | None, typer.Argument(help="Name of a feed; all feeds when left out.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Prove offset by offset that each record is in one place.")] = False,
    batches: Annotated[int, typer.Option(min=0, help="Show this many of the latest batches of each feed.")] = 0,
    as_json: Json = False,
) -> None:
    """Count each feed's records by where they are: silver, dead letters, duplicates, in flight.

    With `--verify` the exit code is 1 when any record is in no place or in two.

    Example: `tidemill account --verify`
    """
    from lakehouse import account as accounts
    from lakehouse.catalog import Catalog
    from lakehouse.clients import postgres_dsn
    from lakehouse.control import Control
    from lakehouse.errors import AccountError
    from lakehouse.settings import Settings
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    settings, catalog = Settings.load(workspace), Catalog.load(workspace)
    control = Control(postgres_dsn(settings))
    feeds = [feed] if feed else [spec.name for spec in catalog.layer("bronze")]
    found = [accounts.account(settings, catalog, control, name) for name in feeds]
    broken = {name: accounts.verify(settings, catalog, control, name) for name in feeds} if verify else {}
    latest = {name: control.batches(catalog.ingest(name).full_name, batches) for name in feeds} if batches else {}
    if as_json:
        print_json(_document(found, broken, latest))
    else:
        console.print(feed_table(found))
        for name, rows in latest.items():
            console.print(_batch_table(name, rows))
        for name in broken:
            console.print(f"[green]✓[/] {name}: each record is in exactly one place." if not broken[name] else "")
    problems = [f"{name}: {v.records:,} {v.kind} ({', '.join(v.examples)})" for name in broken for v in broken[name]]
    if problems:
        raise AccountError("The account does not hold. " + "; ".join(problems) + ".")


def feed_table(found: list[FeedAccount]) -> Table:
    """Return the account of feeds as a table for people."""
    from rich.table import Table

    view = Table(box=None, pad_edge=False)
    view.add_column("feed")
    for heading in ("read", "silver", "dead letters", "duplicates", "in flight"):
        view.add_column(heading, justify="right")
    for row in found:
        counts = (row.read, row.silver, row.dead_letters, row.duplicates, row.in_flight)
        view.add_row(row.feed, *[f"{count:,}" for count in counts])
        for reason, count in row.reasons.items():
            view.add_row(f"  [dim]{reason}[/]", "", "", f"[dim]{count:,}[/]")
    return view


def _batch_table(feed: str, rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    view = Table(title=f"Latest batches of {feed}", title_justify="left", box=None, pad_edge=False)
    for heading in ("batch", "finished", "read", "silver", "dead letters", "duplicates", "ms"):
        view.add_column(heading, justify="right")
    for row in rows:
        counts = [f"{row[name]:,}" for name in ("rows_read", "rows_written", "dead_letters", "duplicates", "duration_ms")]
        view.add_row(f"{row['epoch']}/{row['batch_id']}", f"{row['finished_at']:%H:%M:%S}", *counts)
    return view


def _document(
    found: list[FeedAccount], broken: dict[str, list[Violation]], latest: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    from dataclasses import asdict

    feeds = {row.feed: row.as_dict() for row in found}
    for name, violations in broken.items():
        feeds[name]["violations"] = [asdict(violation) for violation in violations]
    for name, rows in latest.items():
        feeds[name]["batches"] = rows
    return {"feeds": feeds}
