"""``tidemill query``: one SELECT over the tables, without Spark."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Json, console, errors, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from lakehouse.serving.query import QueryResult

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
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which the query is given up.")] = 60.0,
) -> None:
    """Answer one SELECT over silver, gold and reference tables, and say which version of each was read.

    Nothing can be written, and no file or address can be opened. `DESCRIBE layer.table` shows a table's columns.

    Example: `tidemill query "SELECT carrier, count(*) FROM silver.flights GROUP BY carrier ORDER BY 2 DESC"`
    """
    from lakehouse.catalog import table_files
    from lakehouse.errors import QueryRefusedError
    from lakehouse.serving.query import run_query
    from lakehouse.serving.tables import lake_locator
    from lakehouse.settings import Settings
    from lakehouse.workspace import Workspace

    if as_json and as_csv:
        raise QueryRefusedError("--json and --csv exclude each other.")
    workspace = Workspace.find()
    known = [name for name in table_files(workspace) if not name.startswith("bronze.")]
    locate = lake_locator(Settings.load(workspace))
    result = run_query(sql, known, locate, versions=_versions(version or []), limit=limit, timeout=timeout)
    if as_json:
        print_json(
            {
                "columns": result.columns,
                "types": result.types,
                "rows": [[_plain(value) for value in row] for row in result.rows()],
                "truncated": result.truncated,
                "versions": result.versions,
                "seconds": round(result.seconds, 3),
            }
        )
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(result.columns)
        writer.writerows([["" if value is None else _text(value, float_format="r") for value in row] for row in result.rows()])
        errors.print(_footer(result), markup=False, style="dim")
    else:
        view = _table(result)
        # A pipe has no width, so nothing is cut there.
        console.print(view, width=None if console.is_terminal else console.measure(view).maximum, soft_wrap=True)
        console.print(_footer(result), markup=False, style="dim")


def _versions(written: list[str]) -> dict[str, int]:
    from lakehouse.errors import QueryRefusedError

    versions = {}
    for item in written:
        name, _, number = item.partition("=")
        if not number.isascii() or not number.isdigit():
            raise QueryRefusedError(f"--version {item} is not layer.table=N, with N a version number.")
        versions[name.strip()] = int(number)
    return versions


def _table(result: QueryResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    view = Table()
    for name, kind in zip(result.columns, result.types, strict=True):
        view.add_column(
            Text(_visible(name)), justify="right" if kind.startswith(_NUMBERS) and "[" not in kind else "left", overflow="fold"
        )
    for row in result.rows():
        view.add_row(*(Text("null", "dim") if value is None else Text(_visible(_text(value))) for value in row))
    return view


def _footer(result: QueryResult) -> str:
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


def _plain(value: Any) -> Any:
    """Return what JSON knows: numbers stay numbers, NaN and infinities are null, bytes are hex, times are ISO 8601."""
    from datetime import date, time
    from decimal import Decimal
    from math import isfinite

    match value:
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case bytes():
            return value.hex()
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
    return value
