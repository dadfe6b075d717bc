"""Run one SELECT over the workspace's tables, without Spark.

Each table's own reader (delta-rs, PostgreSQL) gives the columns asked for, of the rows that can matter, and DuckDB computes.
DuckDB itself can open nothing: it has no access to files, the network or Python's variables, and its settings are locked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import Decimal
from math import isfinite
from time import monotonic
from typing import Any, Protocol

import duckdb
from arro3.core import RecordBatchReader, Table

from lakehouse.errors import QueryFailedError, QueryRefusedError, QueryTooLargeError, TidemillError
from lakehouse.serving.pushdown import Condition, given
from lakehouse.serving.sandbox import MEMORY, Cancel, Late, Sandboxes, quoted, within
from lakehouse.serving.statement import Statement, check, sql_message
from lakehouse.serving.tables import Location, Source, lake

ONCE = Sandboxes(0)
"""What is computed in a sandbox that nobody uses again."""


@dataclass(frozen=True)
class QueryResult:
    """The answer.

    Attributes:
        columns: Names, in order; a name may come twice.
        types: DuckDB's names of their types.
        table: The rows, for anything that reads Arrow (``pyarrow.table(result.table)``).
        versions: ``layer.name`` → the Delta version that was read.
        seconds: How long it took.
        truncated: There are more rows than were asked for.
        cached: It was given before.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    table: Table
    versions: dict[str, int]
    seconds: float
    truncated: bool
    cached: bool = False

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows as Python values."""
        if not self.columns:
            return []
        return list(zip(*(self.table.column(i).to_pylist() for i in range(len(self.columns))), strict=True))

    def document(self, whole: Callable[[int], Any] = int) -> dict[str, Any]:
        """Return what is printed or sent as JSON; ``whole`` as in :func:`plain`."""
        return {
            "columns": self.columns,
            "types": self.types,
            "rows": [[plain(value, whole) for value in row] for row in self.rows()],
            "truncated": self.truncated,
            "versions": self.versions,
            "seconds": round(self.seconds, 3),
            "cached": self.cached,
        }


Parameters = Mapping[str, Any] | Sequence[Any] | None
"""Values of ``$name``, or of ``?`` and ``$1``."""

Versions = Mapping[str, int | None]
"""``layer.name`` → the version of a table; ``None`` for one that has none."""


class Memory(Protocol):
    """Knows answers that were given before."""

    def latest(self, name: str, /) -> int | None:
        """Return the version of a table, if that takes no looking."""

    def key(self, statement: Statement, versions: Versions, parameters: Parameters, limit: int) -> str | None:
        """Return what an answer is found by; ``None`` when it is not to be kept."""

    def get(self, key: str) -> QueryResult | None:
        """Return the answer that was given before, if there is one."""

    def once(self, key: str, work: Callable[[], QueryResult]) -> QueryResult:
        """Work an answer out, if nobody did meanwhile."""


Filters = Mapping[str, Sequence[Condition]]
"""``layer.name`` → what every row that matters fulfils."""


def plain(value: Any, whole: Callable[[int], Any] = int) -> Any:
    """Return what JSON knows: numbers stay numbers, NaN and infinities are null, bytes are hex, times are ISO 8601.

    Args:
        value: Of a row; what is none of these, and JSON does not know, stays as it is.
        whole: What a whole number becomes, for writers that do not know large ones.
    """
    match value:
        case bool():
            return value
        case int():
            return whole(value)
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return whole(int(value)) if value == value.to_integral_value() else float(value)
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case bytes():
            return value.hex()
        case list() | tuple():
            return [plain(item, whole) for item in value]
        case dict():
            return {str(key): plain(item, whole) for key, item in value.items()}
    return value


def run_query(
    sql: str,
    known: Collection[str],
    locate: Callable[[str], Location],
    *,
    versions: Mapping[str, int] | None = None,
    limit: int = 1000,
    timeout: float = 60.0,
) -> QueryResult:
    """Answer one SELECT over tables of the lake; ``locate`` says where each one lies. See :func:`answer`."""
    return answer(sql, known, lake(locate), versions=versions, limit=limit, timeout=timeout)


def answer(
    sql: str,
    known: Collection[str],
    open_source: Callable[[str, int | None], Source],
    *,
    parameters: Parameters = None,
    versions: Mapping[str, int] | None = None,
    limit: int = 1000,
    timeout: float = 60.0,
    max_bytes: int | None = None,
    memory: Memory | None = None,
    cancel: Cancel | None = None,
    sandboxes: Sandboxes = ONCE,
) -> QueryResult:
    """Answer one SELECT.

    Args:
        sql: The text.
        known: ``layer.name`` of the tables that may be read.
        open_source: Opens a table, by name, at a version or at its newest.
        parameters: Values of ``$name``, or of ``?`` and ``$1``, in the text.
        versions: Tables to read at an older version than their newest.
        limit: Most rows to return; 0: only say what columns there are.
        timeout: Seconds after which it is given up.
        max_bytes: Bytes of files that it may read, about; ``None``: any number.
        memory: What knows answers that were given before.
        cancel: What gives it up before.
        sandboxes: What it is computed in; one that is used once when left out.

    Raises:
        QueryRefusedError: The text is not one SELECT over known tables.
        QueryTooLargeError: It would read more.
        QueryFailedError: It is wrong, was cancelled, took too long, or needs too much memory; or a table cannot be read.
    """
    start = monotonic()
    statement = check(sql, known, with_parameters=parameters is not None)
    if unread := set(versions or {}) - set(statement.tables):
        raise QueryRefusedError(f"A version of {', '.join(sorted(unread))} is given, but the query does not read it.")
    filters = {name: given(found, parameters) for name, found in statement.filters.items()}
    late = Late(sandboxes)

    def kept() -> QueryResult | None:
        if memory is None or not limit or versions:
            return None
        latest = {name: memory.latest(name) for name in statement.tables}
        key = memory.key(statement, latest, parameters, limit)
        return memory.get(key) if key else None

    def work() -> QueryResult:
        names = statement.tables
        wanted = [(versions or {}).get(name) for name in names]
        with ThreadPoolExecutor(8) if len(names) > 1 else nullcontext() as pool:
            opened = list((pool.map if pool else map)(open_source, names, wanted))
        tables = dict(zip(names, opened, strict=True))
        found = {name: table.version for name, table in tables.items()}
        key = memory.key(statement, found, parameters, limit) if memory is not None and limit else None
        if memory is None or key is None:
            return execute(tables)
        return replace(memory.once(key, lambda: execute(tables)), seconds=monotonic() - start)

    def execute(tables: Mapping[str, Source]) -> QueryResult:
        if max_bytes is not None and limit:
            _weigh(statement, filters, tables, max_bytes)
        columns, types, table = _execute(late(), statement, filters, tables, limit, parameters)
        return QueryResult(
            columns=columns,
            types=types,
            table=table.slice(0, min(limit, table.num_rows)),
            versions={name: table.version for name, table in tables.items() if table.version is not None},
            seconds=monotonic() - start,
            truncated=table.num_rows > limit,
        )

    if (found := kept()) is not None:
        return replace(found, seconds=monotonic() - start)
    try:
        return within(timeout, late, work, cancel)
    except CancelledError as error:
        raise QueryFailedError("The query was cancelled.") from error
    except TimeoutError as error:
        raise QueryFailedError(
            f"The query took more than {timeout:g} s; filter or aggregate more, or raise --timeout."
        ) from error
    except TidemillError:
        raise
    except Exception as error:  # DuckDB's errors come back through Arrow as errors of other classes
        raise _failure(error) from error


def _execute(
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    filters: Filters,
    tables: Mapping[str, Source],
    limit: int,
    parameters: Parameters,
) -> tuple[tuple[str, ...], tuple[str, ...], Table]:
    _register(connection, statement, filters, tables, statement.columns)
    try:
        relation = connection.sql(statement.sql, params=parameters)
    except duckdb.Error:
        # The message must offer all columns, not just those that were needed.
        _register(connection, statement, filters, tables, None)
        try:
            relation = connection.sql(statement.sql, params=parameters)
        except duckdb.Error:
            connection.execute(statement.sql, parameters)  # fails as well, and shows where in the text
            raise
    reader = RecordBatchReader.from_stream(relation if limit else relation.limit(0))  # which reads no table
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows > limit:
            break
    columns, types = tuple(relation.columns), tuple(str(x).strip('"') for x in relation.types)
    return columns, types, Table.from_batches(batches, schema=reader.schema)


def _register(
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    filters: Filters,
    tables: Mapping[str, Source],
    columns: frozenset[str] | None,
) -> None:
    for index, (full, table) in enumerate(tables.items()):
        names = _needed(table, columns)
        connection.register(f"__scan_{index}", table.scan(names, filters.get(full, ())))
        layer, _, name = full.partition(".")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(layer)}")
        views = [f"{quoted(layer)}.{quoted(name)}"]
        views += [f"main.{quoted(bare)}" for bare, of in statement.bare.items() if of == full]
        for view in views:
            connection.execute(f"CREATE OR REPLACE VIEW {view} AS FROM __scan_{index}")


def _needed(table: Source, columns: frozenset[str] | None) -> list[str]:
    names = [name for name in table.columns if columns is None or name.lower() in columns]
    return names or [table.columns[0]]  # count(*) needs rows, and a row needs a column


def _weigh(statement: Statement, filters: Filters, tables: Mapping[str, Source], max_bytes: int) -> None:
    """Refuse what would read too much for one process."""
    weights = {
        full: table.stored_bytes(_needed(table, statement.columns), filters.get(full, ())) or 0 for full, table in tables.items()
    }
    if sum(weights.values()) > max_bytes:  # how much more is not said: it depends on rows that may not be shown
        heaviest = max(weights, key=lambda full: weights[full])
        raise QueryTooLargeError(
            f"The query would read more than {max_bytes / 1e6:,.0f} MB of files, which is too much for one process. Name the "
            f"columns that you need of {heaviest}, compare its keys or its time with constants, or ask a gold table."
        )


def _failure(error: Exception) -> QueryFailedError:
    message = sql_message(error)
    if "Out of Memory" in str(error) or "memory_limit" in message:
        return QueryFailedError(f"The query needs more than {MEMORY} of memory; filter or aggregate more.")
    if "not found" in message.lower() and ".parquet" in message:
        return QueryFailedError("A file of this version was removed while it was read (VACUUM); run the query again.")
    return QueryFailedError(f"The query cannot be answered: {message}")
