"""``tidemill up``: start the embedded servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.console import Json, console, errors, print_json

if TYPE_CHECKING:
    from lakehouse.workspace import Workspace


def up(as_json: Json = False) -> None:
    """Start the embedded servers that do not run yet: Kafka, S3, PostgreSQL, Valkey.

    The first time, Kafka's jars are fetched. A part that has an address of its own, such as
    `TIDEMILL_KAFKA__BOOTSTRAP_SERVERS`, is not started.

    Example: `tidemill up`
    """
    from jobs.servers import Progress, as_dict, table
    from lakehouse.stack import supervisor
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    _fetch_jars(workspace)
    with Progress(errors) as progress:
        servers = supervisor.up(workspace, progress.report)
    if as_json:
        print_json(as_dict(servers))
    else:
        console.print(table(servers))


def _fetch_jars(workspace: Workspace) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from lakehouse.jvm.jars import fetch, missing
    from lakehouse.settings import external_parts

    if "kafka" in external_parts(workspace) or not (absent := missing("kafka")):
        return
    columns = TextColumn("Fetching Kafka's jars"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("jars", total=len(absent))
        fetch("kafka", lambda jar: progress.advance(task))
