"""Run one SELECT over the lake's tables, without Spark.

delta-rs reads one version of each table, lazily and only the columns asked for, and DuckDB computes. DuckDB itself
can open nothing: it has no access to files, the network or Python's variables, and its settings are locked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
from arro3.core import RecordBatchReader, Table
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.errors import QueryFailedError, QueryRefusedError
from lakehouse.serving.pushdown import predicate
from lakehouse.serving.statement import Statement, check, sql_message

if TYPE_CHECKING:
    from lakehouse.settings import Settings

MEMORY = "1GiB"
# What delta-rs's reader was tried with (tests/integration/test_query_features.py).
READER_FEATURES = {"columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}


@dataclass(frozen=True)
class Location:
    """Where a table lies.

    Attributes:
        uri: Folder of the table: a path, or ``s3://…``.
        options: Options of delta-rs's object store.
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # they hold credentials


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
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    table: Table
    versions: dict[str, int]
    seconds: float
    truncated: bool

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows as Python values."""
        if not self.columns:
            return []
        return list(zip(*(self.table.column(i).to_pylist() for i in range(len(self.columns))), strict=True))


def lake_locator(settings: Settings) -> Callable[[str], Location]:
    """Return the function that knows where a table of the lake lies, by ``layer.name``."""
    options = {**settings.s3_storage_options, "connect_timeout": "3s", "timeout": "30s", "max_retries": "2"}
    return lambda name: Location(f"s3://{settings.s3.bucket}/{name.replace('.', '/', 1)}", options)


def run_query(
    sql: str,
    known: Collection[str],
    locate: Callable[[str], Location],
    *,
    versions: Mapping[str, int] | None = None,
    limit: int = 1000,
    timeout: float = 60.0,
) -> QueryResult:
    """Answer one SELECT.

    Args:
        sql: The text.
        known: ``layer.name`` of the tables that may be read.
        locate: Where a table lies.
        versions: Tables to read at an older version than their newest.
        limit: Most rows to return.
        timeout: Seconds after which it is given up.

    Raises:
        QueryRefusedError: The text is not one SELECT over known tables.
        QueryFailedError: It is wrong, took too long, or needs too much memory; or a table cannot be read.
    """
    start = time.monotonic()
    connection = _sandbox()
    try:
        statement = check(sql, known, connection)
        if unused := set(versions or {}) - set(statement.tables):
            raise QueryRefusedError(f"A version of {', '.join(sorted(unused))} is asked for, but the query does not read it.")
        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(lambda name: _open(name, locate(name), (versions or {}).get(name)), statement.tables))
        tables = dict(zip(statement.tables, opened, strict=True))
        with _deadline(connection, timeout) as expired:
            try:
                columns, types, table = _execute(connection, statement, tables, limit, expired)
            except QueryFailedError:
                raise
            except Exception as error:  # DuckDB's errors come back through Arrow as errors of other classes
                raise _failure(error, expired.is_set(), timeout) from error
    finally:
        connection.close()
    return QueryResult(
        columns=columns,
        types=types,
        table=table.slice(0, min(limit, table.num_rows)),
        versions={name: table.version() for name, table in tables.items()},
        seconds=time.monotonic() - start,
        truncated=table.num_rows > limit,
    )


class _Scan:
    """A table that DuckDB can read any number of times: each time it gets a new stream."""

    def __init__(self, table: DeltaTable, columns: list[str], predicate: str | None) -> None:
        self._open = partial(table.scan, columns=columns, predicate=predicate)
        self._schema = self._open().schema

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._open().__arrow_c_stream__(requested_schema)


def _sandbox() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "enable_external_access": False,
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "memory_limit": MEMORY,
            "temp_directory": "",
        }
    )
    connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
    return connection


def _open(name: str, location: Location, version: int | None) -> DeltaTable:
    try:
        table = DeltaTable(location.uri, version=version, storage_options=dict(location.options) or None)
    except TableNotFoundError as error:
        raise QueryFailedError(f"{name} has no data yet; `tidemill run` writes it.") from error
    except (DeltaError, OSError) as error:
        if version is not None:
            raise QueryFailedError(f"{name} cannot be read at version {version}: {_first_line(error)}") from error
        raise QueryFailedError(f"{name} cannot be read: {_first_line(error)} (`tidemill status` shows the servers)") from error
    if unread := set(table.protocol().reader_features or ()) - READER_FEATURES:
        raise QueryFailedError(
            f"{name} uses Delta features that `tidemill query` cannot read ({', '.join(sorted(unread))}); read it with Spark."
        )
    return table


def _execute(
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    tables: Mapping[str, DeltaTable],
    limit: int,
    expired: threading.Event,
) -> tuple[tuple[str, ...], tuple[str, ...], Table]:
    _register(connection, statement, tables, statement.columns)
    try:
        relation = connection.sql(statement.sql)
    except duckdb.Error:
        # The message must offer all columns, not just those that were needed.
        _register(connection, statement, tables, None)
        relation = connection.sql(statement.sql)
    reader = RecordBatchReader.from_stream(relation)
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows > limit or expired.is_set():
            break
    if expired.is_set():
        raise TimeoutError
    columns, types = tuple(relation.columns), tuple(str(x) for x in relation.types)
    return columns, types, Table.from_batches(batches, schema=reader.schema)


def _register(
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    tables: Mapping[str, DeltaTable],
    columns: frozenset[str] | None,
) -> None:
    for index, (full, table) in enumerate(tables.items()):
        fields = table.schema().fields
        names = [x.name for x in fields if columns is None or x.name.lower() in columns]
        names = names or [fields[0].name]  # count(*) needs rows, and a row needs a column
        types = {x.name: x.type.type for x in fields if isinstance(getattr(x.type, "type", None), str)}
        connection.register(f"__scan_{index}", _Scan(table, names, predicate(statement.filters.get(full, ()), types)))
        layer, _, name = full.partition(".")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(layer)}")
        views = [f"{_quoted(layer)}.{_quoted(name)}"]
        views += [f"main.{_quoted(bare)}" for bare, of in statement.bare.items() if of == full]
        for view in views:
            connection.execute(f"CREATE OR REPLACE VIEW {view} AS FROM __scan_{index}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _deadline(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[threading.Event]:
    expired = threading.Event()

    def interrupt() -> None:
        expired.set()
        connection.interrupt()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _failure(error: Exception, expired: bool, timeout: float) -> QueryFailedError:
    message = sql_message(error)
    if expired:
        return QueryFailedError(f"The query took more than {timeout:g} s; filter or aggregate more, or raise --timeout.")
    if "Out of Memory" in message:
        return QueryFailedError(f"The query needs more than {MEMORY} of memory; filter or aggregate more.")
    if "not found" in message.lower() and ".parquet" in message:
        return QueryFailedError("A file of this version was removed while it was read (VACUUM); run the query again.")
    return QueryFailedError(f"The query cannot be answered: {message}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
