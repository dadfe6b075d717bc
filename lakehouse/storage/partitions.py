"""How a hot table is kept by windows of the feed clock: PostgreSQL's own range partitions, or a TimescaleDB hypertable.

Both take a row into the window of its ``_timestamp``, and let windows go whole when the writer says that the feed clock has left them
behind. TimescaleDB's own retention policies go by the time of day, under which a replay of 2013 would be gone at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from lakehouse.livetables import LiveSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Where windows are counted from; TimescaleDB counts its chunks from there too."""

_LOCK = 7463


def lock(connection: psycopg.Connection[Any]) -> None:
    """Wait, until the end of the transaction, for others that make, change or drop tables of the hot store."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


class Partitions(ABC):
    """The windows of one hot table; for one writer thread, though other processes may write the same table.

    Args:
        connection: In autocommit mode.
        spec: What is declared of the table.
    """

    clause: ClassVar[sql.SQL]
    """How the statement ends that makes the table."""

    def __init__(self, connection: psycopg.Connection[Any], spec: LiveSpec) -> None:
        self._connection = connection
        self._name = spec.name
        self._window = spec.window
        self._table = sql.Identifier("hot", spec.name)

    @abstractmethod
    def attach(self) -> None:
        """Take the table as it is: when it has been made, and when another writer turns out to have changed it."""

    @abstractmethod
    def make(self, moments: Iterable[datetime]) -> None:
        """See to it that rows of these moments find their windows."""

    @abstractmethod
    def drop(self, horizon: datetime) -> None:
        """Let go of the windows that end at the horizon or before."""

    @abstractmethod
    def begins(self) -> list[datetime]:
        """Return the beginning of each window that is there, in order."""

    def _number(self, moment: datetime) -> int:
        return int((moment - EPOCH) // self._window)


class NativePartitions(Partitions):
    """PostgreSQL's range partitions: made before rows need them, one window ahead.

    A window that is declared anew holds for partitions to come, which are made between those that are there.
    """

    clause = sql.SQL("PARTITION BY RANGE (_timestamp)")

    def __init__(self, connection: psycopg.Connection[Any], spec: LiveSpec) -> None:
        """Plan; the windows that are there are known from :meth:`attach` on."""
        super().__init__(connection, spec)
        self._there: list[tuple[datetime, datetime]] = []
        self._made: set[int] = set()

    def attach(self) -> None:
        """Look up the partitions that are there."""
        self._there = self._read()
        self._made.clear()

    def make(self, moments: Iterable[datetime]) -> None:
        """Make the partitions that rows of these moments lack, and the next."""
        wanted = {self._number(moment) for moment in moments}
        if wanted:
            wanted.add(max(wanted) + 1)  # ahead, so that the first rows of a window do not wait for it
        if not (missing := wanted - self._made):
            return
        with self._connection.transaction():
            lock(self._connection)
            self._there = self._read()
            for number in sorted(missing):
                for low, high in self._gaps(EPOCH + number * self._window):
                    self._connection.execute(
                        sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                            self._partition(low), self._table, sql.Literal(low), sql.Literal(high)
                        )
                    )
                    self._there.append((low, high))
        self._made |= missing

    def drop(self, horizon: datetime) -> None:
        """Drop the tables of the partitions."""
        gone = [bounds for bounds in self._there if bounds[1] <= horizon]
        if not gone:
            return
        with self._connection.transaction():
            lock(self._connection)
            for low, _ in gone:
                self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._partition(low)))
        self._there = [bounds for bounds in self._there if bounds[1] > horizon]
        self._made = {number for number in self._made if EPOCH + (number + 1) * self._window > horizon}

    def begins(self) -> list[datetime]:
        """Return where the partitions begin."""
        return [low for low, _ in self._read()]

    def _gaps(self, low: datetime) -> list[tuple[datetime, datetime]]:
        """Return the parts of a window that no partition holds."""
        gaps, high = [], low + self._window
        for begin, end in sorted(self._there):
            if end <= low or begin >= high:
                continue
            if begin > low:
                gaps.append((low, begin))
            low = end
        return [*gaps, (low, high)] if low < high else gaps

    def _read(self) -> list[tuple[datetime, datetime]]:
        rows = self._connection.execute(
            r"SELECT m[1]::timestamptz, m[2]::timestamptz FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, "
            r"regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('(.*)'\) TO \('(.*)'\)$$) AS m "
            "WHERE i.inhparent = to_regclass(%s) ORDER BY 1",
            (self._table.as_string(None),),
        )
        return rows.fetchall()

    def _partition(self, low: datetime) -> sql.Identifier:
        return sql.Identifier("hot", f"{self._name}_w{int((low - EPOCH).total_seconds())}")


class Hypertable(Partitions):
    """A hypertable of TimescaleDB (2.13 or later), which makes a chunk as its first row comes.

    Args:
        connection: In autocommit mode.
        spec: What is declared of the table.
        schema: Where the functions of the extension are.
    """

    clause = sql.SQL("")

    def __init__(self, connection: psycopg.Connection[Any], spec: LiveSpec, schema: str) -> None:
        super().__init__(connection, spec)
        self._cleared: int | None = None
        functions = ("create_hypertable", "by_range", "set_partitioning_interval", "drop_chunks")
        self._names: dict[str, sql.Composable] = {name: sql.Identifier(schema, name) for name in functions}
        self._names |= {"table": sql.Literal(self._table.as_string(None)), "window": sql.Literal(spec.window)}

    def attach(self) -> None:
        """Make the table a hypertable, unless it is one; chunks to come get the window that is declared now."""
        for statement in (
            "SELECT {create_hypertable}({table}, {by_range}('_timestamp', {window}), "
            "create_default_indexes => false, if_not_exists => true)",  # the primary key begins with _timestamp
            "SELECT {set_partitioning_interval}({table}, {window})",
        ):
            self._connection.execute(sql.SQL(statement).format(**self._names))

    def make(self, moments: Iterable[datetime]) -> None:
        """Do nothing: TimescaleDB makes the chunks."""

    def drop(self, horizon: datetime) -> None:
        """Drop the chunks, once a window.

        A writer that is behind the others may make a chunk again that they dropped; it goes with the next one.
        """
        number = self._number(horizon)
        if number == self._cleared:
            return
        with self._connection.transaction():
            lock(self._connection)
            self._connection.execute(
                sql.SQL("SELECT {drop_chunks}({table}, older_than => {horizon})").format(
                    **self._names, horizon=sql.Literal(horizon)
                )
            )
        self._cleared = number

    def begins(self) -> list[datetime]:
        """Return what the extension's catalog says."""
        rows = self._connection.execute(
            "SELECT range_start FROM timescaledb_information.chunks WHERE hypertable_schema = 'hot' AND hypertable_name = %s",
            (self._name,),
        )
        return sorted(row[0] for row in rows)


def partitions(connection: psycopg.Connection[Any], spec: LiveSpec) -> Partitions:
    """Return how a table is kept: as it was made; one yet to be made is a hypertable if the database has the extension.

    The caller has the :func:`lock` until the table is made, or two writers could choose differently.
    """
    found = connection.execute(
        "SELECT (SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)), "
        "(SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'timescaledb')",
        (sql.Identifier("hot", spec.name).as_string(None),),
    ).fetchone()
    assert found is not None
    is_partitioned, schema = found
    if is_partitioned or schema is None:
        return NativePartitions(connection, spec)
    return Hypertable(connection, spec, schema)
