"""``tidemill up``: start the embedded servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import Json, console, errors, print_json

if TYPE_CHECKING:
    from lakehouse.jvm.jars import JarSet


def up(
    secure: Annotated[
        bool | None,
        typer.Option(
            "--secure/--plain",
            help="Speak TLS only, and encrypt buckets; or neither. It is remembered. Left out: as last time; at first, secure when "
            "the gateway or the push service listens outside this machine.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the embedded servers that do not run yet: Kafka, S3, PostgreSQL, Valkey.

    The first time, Kafka's jars are fetched. A part that has an address of its own, such as
    `TIDEMILL_KAFKA__BOOTSTRAP_SERVERS`, is not started.

    Example: `tidemill up`
    """
    from jobs.servers import Progress, as_dict, table
    from lakehouse.settings import external_parts
    from lakehouse.stack import supervisor
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    if "kafka" not in external_parts(workspace):
        fetch_jars("kafka", "Fetching Kafka's jars")
    with Progress(errors) as progress:
        servers = supervisor.up(workspace, progress.report, secure)
    if as_json:
        print_json(as_dict(servers))
    else:
        console.print(table(servers))


def fetch_jars(name: JarSet, title: str) -> None:
    """Fetch what the cache lacks of a class path, with a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from lakehouse.jvm.jars import fetch, missing

    if not (absent := missing(name)):
        return
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("jars", total=len(absent))
        fetch(name, lambda jar: progress.advance(task))
