"""Live tables as DuckDB reads them: the rows that can matter, fetched from PostgreSQL as Arrow.

No text of the user's reaches PostgreSQL: a condition of theirs becomes a name of a declared column, one of five operators, and a
parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import adbc_driver_postgresql
import psycopg
from arro3.core import Array, DataType, RecordBatch, RecordBatchReader, Table
from psycopg import sql

from lakehouse.clients import postgres_dsn
from lakehouse.errors import QueryFailedError
from lakehouse.security.hotroles import HotRoles
from lakehouse.security.policy import View
from lakehouse.serving.masks import fit
from lakehouse.serving.pool import Pool
from lakehouse.serving.pushdown import Condition, moment
from lakehouse.storage.hot import ORIGIN, column_names

if TYPE_CHECKING:
    from lakehouse.settings import Settings


class HotStore:
    """The hot store, for many who ask: connections are kept. Safe to share between threads."""

    def __init__(self, dsn: str, idle: int = 0) -> None:
        """Know where it is.

        Args:
            dsn: Of the owner.
            idle: How many connections of each kind wait for the next question.
        """
        self.dsn = dsn
        self._owners: Pool[psycopg.Connection[Any]] = Pool(_connected, lambda x: x.close(), idle)
        self._readers: Pool[_Reader] = Pool(_Reader, _Reader.close, idle)

    @contextmanager
    def owner(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection of the owner.

        Raises:
            psycopg.OperationalError: The server is away.
        """
        connection, is_used = self._owners.take(self.dsn)
        try:
            if is_used:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            self._owners.drop(connection)
            connection = _connected(self.dsn)
        try:
            yield connection
        except BaseException:
            self._owners.drop(connection)
            raise
        self._owners.give(self.dsn, connection)

    @contextmanager
    def reading(self, dsn: str, query: str, values: Sequence[int | str]) -> Iterator[Any]:
        """Give the answer to a query as a stream of Arrow batches.

        Raises:
            adbc_driver_manager.Error: It cannot be answered.
        """
        reader, is_used = self._readers.take(dsn)
        try:
            try:
                stream = reader.ask(query, values)
            except adbc_driver_manager.Error:
                if not is_used:
                    raise
                self._readers.drop(reader)  # the server began anew, or the role is another one of that name
                reader = _Reader(dsn)
                stream = reader.ask(query, values)
            yield stream
            reader.done()
        except BaseException:
            self._readers.drop(reader)
            raise
        self._readers.give(dsn, reader)

    def close(self) -> None:
        """Let go of the connections."""
        self._owners.close()
        self._readers.close()


class _Reader:
    """A connection that gives Arrow; for one thread."""

    def __init__(self, dsn: str) -> None:
        # Not through ADBC's DB-API, which imports pandas and pyarrow before it does anything.
        self._database = adbc_driver_postgresql.connect(dsn)
        try:
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
        except BaseException:
            self._database.close()
            raise
        self._statement: Any = None

    def ask(self, query: str, values: Sequence[int | str]) -> Any:
        """Return the answer, which is read before :meth:`done`."""
        self._statement = adbc_driver_manager.AdbcStatement(self._connection)
        self._statement.set_sql_query(query)
        if values:
            schema, array = _parameters(values).__arrow_c_array__()
            self._statement.bind(array, schema)
        return self._statement.execute_query()[0]

    def done(self) -> None:
        """Let go of what was asked."""
        if self._statement is not None:
            self._statement.close()
            self._statement = None

    def close(self) -> None:
        """Let go of the connection."""
        self.done()
        self._connection.close()
        self._database.close()


class HotSource:
    """One live table."""

    version = None

    def __init__(self, where: str | HotStore, name: str, view: View | None = None, roles: HotRoles | None = None) -> None:
        """Look up its columns.

        Args:
            where: The store, or the owner's connection string.
            name: Of the feed.
            view: What will be read of it; all when left out.
            roles: Has a role that can read the view alone, and that reads it.

        Raises:
            QueryFailedError: The hot store has no such table, or is away.
            AccessDeniedError: The policy does not fit the table.
        """
        self._store = store = where if isinstance(where, HotStore) else HotStore(where)
        self._dsn = store.dsn
        self._name = name
        try:
            with store.owner() as connection:
                self._types = column_names(connection, name)
                if not self._types:
                    raise QueryFailedError(f"live.{name} has no rows yet; `tidemill run --lane fast` writes it.")
                if view is not None and roles is not None:
                    fit(view, self._types)
                    self._dsn = roles.reader(connection, name, view, self._types)
        except psycopg.OperationalError as error:
            raise QueryFailedError("The hot store does not answer; `tidemill status` shows the servers.") from error

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns; those that say where a row came from are last."""
        return sorted(self._types, key=lambda name: name in ORIGIN)

    @property
    def types(self) -> Mapping[str, str]:
        """Column → its type in PostgreSQL."""
        return dict(self._types)

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> Table:
        """Return the rows that fulfil the conditions which PostgreSQL surely understands as DuckDB does."""
        with self._reading(columns, conditions) as stream:
            return Table.from_arrow(stream)

    def scan_only(self, columns: Sequence[str], own: Collection[Condition], conditions: Collection[Condition]) -> None:
        """PostgreSQL's own policy is one fence, and what reads its answer is to be another."""

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> None:
        """Nobody can say: PostgreSQL finds the rows by their window, and keeps no more than a retention of them."""

    def batches(self, columns: Sequence[str]) -> Iterator[RecordBatch]:
        """Yield all rows, some at a time, however many there are."""
        with self._reading(columns, ()) as stream:
            yield from RecordBatchReader.from_stream(stream)

    @contextmanager
    def _reading(self, columns: Sequence[str], conditions: Collection[Condition]) -> Iterator[Any]:
        """Ask PostgreSQL, and give its answer as a stream of Arrow batches."""
        where, values = self._where(conditions)
        names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
        query = sql.SQL("SELECT {} FROM {}{}").format(names, sql.Identifier("hot", self._name), where)
        try:
            with self._store.reading(self._dsn, query.as_string(None), values) as stream:
                yield stream
        except adbc_driver_manager.Error as error:
            raise QueryFailedError(f"live.{self._name} cannot be read: {str(error).splitlines()[0]}") from error

    def _where(self, conditions: Collection[Condition]) -> tuple[sql.Composable, list[Any]]:
        names = {name.lower(): name for name in self._types}
        parts: list[sql.Composable] = []
        values: list[Any] = []
        for condition in conditions:
            name = names.get(condition.column.lower())
            found = [_value(kind, text, self._types[name]) for kind, text in condition.constants] if name else [None]
            if name is None or None in found:
                continue
            compared = []
            for value in found:
                values.append(value)
                compared.append(
                    sql.SQL("{} {} ${}::{}").format(
                        sql.Identifier(name), sql.SQL(condition.operator), sql.SQL(str(len(values))), sql.SQL(self._types[name])
                    )
                )
            parts.append(sql.SQL("({})").format(sql.SQL(" OR ").join(compared)))
        return (sql.SQL(" WHERE ") + sql.SQL(" AND ").join(parts) if parts else sql.SQL("")), values


def hot(settings: Settings) -> Callable[[str, int | None], HotSource]:
    """Return the function that opens a live table, by ``live.name``."""
    store = HotStore(postgres_dsn(settings))

    def open_source(full_name: str, version: int | None) -> HotSource:
        if version is not None:
            raise no_versions(full_name)
        return HotSource(store, full_name.removeprefix("live."))

    return open_source


def _connected(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, connect_timeout=3, autocommit=True)


def no_versions(full_name: str) -> QueryFailedError:
    """Return what is said to who asks for a version of a live table."""
    return QueryFailedError(f"{full_name} has no versions: it holds what is now.")


def _parameters(values: Sequence[int | str]) -> RecordBatch:
    """Return a row of parameters, as ADBC takes them."""
    types = [DataType.int64() if isinstance(value, int) else DataType.utf8() for value in values]
    arrays = [Array([value], type=kind) for value, kind in zip(values, types, strict=True)]
    return RecordBatch.from_arrays(arrays, names=[f"p{n}" for n in range(len(values))])


def _value(kind: str, text: str, column: str) -> Any:
    """Return the parameter for a constant; ``None`` when PostgreSQL might read it in another way than DuckDB."""
    if column in {"integer", "bigint", "smallint"} and kind == "INTEGER" and len(text) <= 18:
        return int(text)
    if column == "timestamp with time zone" and (stamp := moment(kind, text)):
        return f"{stamp}+00"
    if column == "text" and kind == "STRING" and "\0" not in text:
        return text
    return None
