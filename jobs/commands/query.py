"""``tidemill query``: one SELECT over the tables, without Spark."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Json, console, errors, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

    from lakehouse.serving.query import QueryResult
    from lakehouse.serving.tables import Source

_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINY",
    "USMALL",
    "UINT",
    "UBIG",
    "UHUGE",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT, in DuckDB's dialect, over `layer.table`.")],
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on standard output, and nothing else there.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to print.")] = 1000,
    version: Annotated[
        list[str] | None, typer.Option(metavar="TABLE=N", help="Read a table at an older version; may be given again.")
    ] = None,
    hot: Annotated[bool, typer.Option("--hot", help="Ask the live tables, `live.NAME`, in the hot store.")] = False,
    as_user: Annotated[
        str | None,
        typer.Option("--as", metavar="USER", help="Answer as the policy lets this user of the workspace's `users.yml` see it."),
    ] = None,
    purpose: Annotated[str | None, typer.Option(help="With --as: what for.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which the query is given up.")] = 60.0,
) -> None:
    """Answer one SELECT over silver, gold and reference tables, and say which version of each was read; or over live tables.

    Nothing can be written, and no file or address can be opened. `DESCRIBE layer.table` shows a table's columns.

    Example: `tidemill query "SELECT carrier, count(*) FROM silver.flights GROUP BY carrier ORDER BY 2 DESC"`
    """
    from lakehouse.catalog import lake_tables
    from lakehouse.errors import QueryRefusedError
    from lakehouse.serving.query import answer
    from lakehouse.serving.tables import lake, lake_locator
    from lakehouse.settings import Settings
    from lakehouse.workspace import Workspace

    if as_json and as_csv:
        raise QueryRefusedError("--json and --csv exclude each other.")
    if purpose is not None and as_user is None:
        raise QueryRefusedError("--purpose is of a user: name one with --as.")
    workspace = Workspace.find()
    settings = Settings.load(workspace)
    open_source: Callable[[str, int | None], Source]
    if hot:
        from lakehouse.livetables import live_full_names
        from lakehouse.serving.hot import hot as open_hot

        known, open_source = live_full_names(workspace), open_hot(settings)
    else:
        known = lake_tables(workspace)
        open_source = lake(lake_locator(settings))
    if as_user is not None:
        from lakehouse.security.keys import mask_key
        from lakehouse.security.policy import Policy
        from lakehouse.security.users import local_user
        from lakehouse.serving.governed import govern

        views = Policy.load(workspace).visible(local_user(workspace, as_user), known, purpose)
        known, open_source = list(views), govern(open_source, views, mask_key(workspace))
    result = answer(sql, known, open_source, versions=_versions(version or []), limit=limit, timeout=timeout)
    if as_json:
        print_json(result.document())
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(result.columns)
        writer.writerows([["" if value is None else _text(value, float_format="r") for value in row] for row in result.rows()])
        errors.print(footer(result), markup=False, style="dim")
    else:
        show(result)
        console.print(footer(result), markup=False, style="dim")


def _versions(written: list[str]) -> dict[str, int]:
    from lakehouse.errors import QueryRefusedError

    versions = {}
    for item in written:
        name, _, number = item.partition("=")
        if not number.isascii() or not number.isdigit():
            raise QueryRefusedError(f"--version {item} is not TABLE=N, with N a version number.")
        versions[name.strip()] = int(number)
    return versions


def show(result: QueryResult) -> None:
    """Print a table, or, where the terminal is too narrow for it, one row below the other."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    unbounded = Console(width=1_000_000)
    names = [Text(_visible(name), "bold") for name in result.columns]
    rows = [[_cell(value) for value in row] for row in result.rows()]
    view = Table()
    for name, kind in zip(names, result.types, strict=True):
        is_number = kind.startswith(_NUMBERS) and not kind.endswith("]")
        view.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        view.add_row(*row)
    width = Measurement.get(unbounded, unbounded.options, view).maximum
    if not console.is_terminal:  # a pipe is as wide as it must be
        Console(width=width, highlight=False).print(view)
        return
    if width <= console.width:
        console.print(view)
        return
    for number, row in enumerate(rows, 1):
        record = Table.grid(padding=(0, 2))
        for name, cell in zip(names, row, strict=True):
            record.add_row(name, cell)
        console.rule(f"row {number}", align="left", style="dim")
        console.print(record)


def _cell(value: Any) -> Text:
    from rich.text import Text

    return Text("null", "dim") if value is None else Text(_visible(_text(value)))


def footer(result: QueryResult) -> str:
    """Return the line below an answer: which versions were read, how many rows, how long."""
    rows = result.table.num_rows
    read = [f"{name} @ version {version}" for name, version in result.versions.items()]
    count = f"the first {rows:,} rows (--limit N for more)" if result.truncated else f"{rows:,} row{'' if rows == 1 else 's'}"
    return " · ".join([*read, count, f"{result.seconds:.2f} s"])


def _text(value: Any, float_format: str = ".10g") -> str:
    from datetime import datetime

    match value:
        case float():
            return repr(value) if float_format == "r" else format(value, float_format)
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat(sep=" ")
        case bytes():
            return value.hex()
    return str(value)


def _visible(text: str) -> str:
    """Return text that cannot steer the terminal: data comes from anyone."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
