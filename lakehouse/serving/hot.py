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

from lakehouse.errors import QueryFailedError
from lakehouse.security.hotroles import HotRoles
from lakehouse.security.policy import View
from lakehouse.serving.masks import fit
from lakehouse.serving.pushdown import Condition, moment
from lakehouse.storage.hot import ORIGIN, column_names

if TYPE_CHECKING:
    from lakehouse.settings import Settings


class HotSource:
    """One live table."""

    version = None

    def __init__(self, dsn: str, name: str, view: View | None = None, roles: HotRoles | None = None) -> None:
        """Look up its columns.

        Args:
            dsn: Of the owner.
            name: Of the feed.
            view: What will be read of it; all when left out.
            roles: Has a role that can read the view alone, and that reads it.

        Raises:
            QueryFailedError: The hot store has no such table, or is away.
            AccessDeniedError: The policy does not fit the table.
        """
        self._dsn = dsn
        self._name = name
        try:
            with psycopg.connect(dsn, connect_timeout=3, autocommit=True) as connection:
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
            # Not through ADBC's DB-API, which imports pandas and pyarrow before it does anything.
            with (
                adbc_driver_postgresql.connect(self._dsn) as database,
                adbc_driver_manager.AdbcConnection(database) as connection,
                adbc_driver_manager.AdbcStatement(connection) as statement,
            ):
                statement.set_sql_query(query.as_string(None))
                if values:
                    schema, array = _parameters(values).__arrow_c_array__()
                    statement.bind(array, schema)
                stream, _ = statement.execute_query()
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
    dsn = settings.require("postgres")

    def open_source(full_name: str, version: int | None) -> HotSource:
        if version is not None:
            raise no_versions(full_name)
        return HotSource(dsn, full_name.removeprefix("live."))

    return open_source


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
