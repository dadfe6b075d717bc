"""The hot store: the recent rows of a live table in PostgreSQL, by windows of the feed clock.

A row is named by its *source* record (topic id, partition, offset) and that record's timestamp, which never changes: writing it
again changes nothing. Windows that the feed clock has left behind go whole: see :mod:`~lakehouse.storage.partitions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from lakehouse.livetables import LiveSpec
from lakehouse.storage.partitions import EPOCH, Partitions, lock, partitions

ORIGIN = {"_topic_id": "text", "_partition": "integer", "_offset": "bigint", "_timestamp": "timestamptz"}
"""Columns that every hot table has beside its own: which record a row came from, and the feed clock."""

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS hot;
CREATE TABLE IF NOT EXISTS hot.declared (feed text PRIMARY KEY, columns jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS hot.clock (feed text PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS hot.refused (
    feed text NOT NULL, topic_id text NOT NULL, "partition" int NOT NULL, "offset" bigint NOT NULL, row bytea NOT NULL,
    reason text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (feed, topic_id, "partition", "offset"));
"""

_TYPES = {
    "string": "text",
    "boolean": "boolean",
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "float": "real",
    "double": "double precision",
    "date": "date",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Landed:
    """What became of a batch of rows.

    Attributes:
        written: Rows that are new in the table.
        known: Rows that were there already: they came twice.
        expired: Rows older than the retention when they came.
        refused: The rows that PostgreSQL does not take; they are in ``hot.refused``, with the reason.
    """

    written: int = 0
    known: int = 0
    expired: int = 0
    refused: tuple[Row, ...] = ()

    def __add__(self, other: Landed) -> Landed:
        return Landed(
            self.written + other.written,
            self.known + other.known,
            self.expired + other.expired,
            self.refused + other.refused,
        )


def column_type(spark_type: str) -> str:
    """Return PostgreSQL's type for one of Spark's, by its ``simpleString``.

    What is not listed (arrays, structs, maps, variants) is ``jsonb``; decimals keep precision and scale.
    """
    return spark_type.replace("decimal", "numeric") if spark_type.startswith("decimal") else _TYPES.get(spark_type, "jsonb")


def declare(dsn: str, feed: str, columns: Mapping[str, str]) -> None:
    """Write down the columns of a live table, name → type of PostgreSQL, for those who write and read it."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        lock(connection)
        connection.execute(SCHEMA)
        connection.execute(
            "INSERT INTO hot.declared VALUES (%s, %s) ON CONFLICT (feed) DO UPDATE SET columns = excluded.columns",
            (feed, Jsonb(dict(columns))),
        )


def declared(connection: psycopg.Connection[Any], feed: str) -> dict[str, str] | None:
    """Return the columns of a live table, or ``None`` when the fast lane never ran it."""
    connection.execute(SCHEMA)
    row = connection.execute("SELECT columns FROM hot.declared WHERE feed = %s", (feed,)).fetchone()
    return None if row is None else dict(row[0])


def column_names(connection: psycopg.Connection[Any], feed: str) -> dict[str, str]:
    """Return the columns of a live table as it is, name → type of PostgreSQL; empty when there is none."""
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) "
        "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (sql.Identifier("hot", feed).as_string(None),),
    )
    return dict(rows.fetchall())


class HotTable:
    """One live table in PostgreSQL; for one writer thread, though other processes may write the same table.

    Args:
        connection: In autocommit mode.
        spec: What is declared of it.
        columns: Its own columns: name → type of PostgreSQL.
    """

    _partitions: Partitions  # from prepare() on

    def __init__(self, connection: psycopg.Connection[Any], spec: LiveSpec, columns: Mapping[str, str]) -> None:
        self._connection = connection
        self._spec = spec
        self._columns = {**columns, **ORIGIN}
        self._table = sql.Identifier("hot", spec.name)
        self._arriving = sql.Identifier("pg_temp", f"arriving_{spec.name}")
        self._clock = EPOCH

    def prepare(self) -> None:
        """Make the table, or add the columns that it lacks."""
        own = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in self._columns.items()]
        keys = sql.SQL(", ").join(sql.Identifier(name) for name in [*self._spec.keys, self._spec.sequence_by])
        with self._connection.transaction():
            lock(self._connection)
            self._connection.execute(SCHEMA)
            self._partitions = partitions(self._connection, self._spec)
            self._connection.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY (_timestamp, _topic_id, _partition, _offset)) {}").format(
                    self._table, sql.SQL(", ").join(own), self._partitions.clause
                )
            )
            self._partitions.attach()
            for column in own:
                self._connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}").format(self._table, column))
            index = sql.Identifier(f"{self._spec.name}_latest")
            self._connection.execute(sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(index, self._table, keys))
            self._make_arriving()
        self._clock = self._read_clock()

    def _make_arriving(self) -> None:
        """Make the table of this connection that rows arrive in: one for each batch would write to PostgreSQL's catalog each time."""
        self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._arriving))
        self._connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS").format(
                sql.Identifier(f"arriving_{self._spec.name}"), self._table
            )
        )

    def land(self, rows: Sequence[Row], now: datetime | None = None) -> Landed:
        """Write rows, in one transaction; those that are there already stay as they are.

        Args:
            rows: The table's own columns, as text or JSON scalars, and the columns of :data:`ORIGIN`, with ``_timestamp`` as a
                ``datetime``.
            now: The time of day, which bounds how far a record may move the feed clock; the machine's when left out.
        """
        if not rows:
            return Landed()
        try:
            return self._land(rows, now or datetime.now(UTC))
        except psycopg.errors.CheckViolation:  # another writer, ahead of this one, has dropped a partition that this one knew
            self._partitions.attach()
            return self._land(rows, now or datetime.now(UTC))

    def _land(self, rows: Sequence[Row], now: datetime) -> Landed:
        latest = max(row["_timestamp"] for row in rows)
        self._clock = self._moved_clock(max(self._clock, min(latest, now)))
        horizon = self._clock - self._spec.retention
        fresh = [row for row in rows if row["_timestamp"] >= horizon]
        expired = Landed(expired=len(rows) - len(fresh))
        self._make_room(fresh)
        landed = self._copy_what_fits(fresh)
        self._let_go(horizon)
        return landed + expired

    def latest(self) -> Iterator[dict[str, Any]]:
        """Yield the last row of each key, by :attr:`~lakehouse.livetables.LiveSpec.sequence_by`, then by position.

        Moments are text, but for ``_timestamp``: PostgreSQL knows years that Python does not.
        """
        keys = sql.SQL(", ").join(sql.Identifier(name) for name in self._spec.keys)
        query = sql.SQL(
            "SELECT DISTINCT ON ({keys}) to_jsonb(h), _timestamp FROM {table} AS h "
            "ORDER BY {keys}, {sequence} DESC NULLS LAST, _partition DESC, _offset DESC"
        ).format(keys=keys, table=self._table, sequence=sql.Identifier(self._spec.sequence_by))
        for row, timestamp in self._connection.execute(query):
            yield {**row, "_timestamp": timestamp}

    def partitions(self) -> list[datetime]:
        """Return the beginning of each window that there is a partition, or a chunk, of."""
        return self._partitions.begins()

    @property
    def clock(self) -> datetime:
        """The feed clock: how far the rows have come."""
        return self._clock

    def _read_clock(self) -> datetime:
        row = self._connection.execute("SELECT at FROM hot.clock WHERE feed = %s", (self._spec.name,)).fetchone()
        return row[0] if row else EPOCH

    def _moved_clock(self, moment: datetime) -> datetime:
        """Move the feed clock to a moment, unless a writer moved it further; returns where it is."""
        row = self._connection.execute(
            "INSERT INTO hot.clock VALUES (%s, %s) ON CONFLICT (feed) DO UPDATE SET at = greatest(hot.clock.at, excluded.at) "
            "RETURNING at",
            (self._spec.name, moment),
        ).fetchone()
        assert row is not None
        return cast("datetime", row[0])

    def _make_room(self, rows: Sequence[Row]) -> None:
        """See to it that rows find their places."""
        self._partitions.make(row["_timestamp"] for row in rows)

    def _let_go(self, horizon: datetime) -> None:
        """Drop what is older, by whole windows."""
        self._partitions.drop(horizon)

    def _copy(self, rows: Sequence[Row]) -> Landed:
        if not rows:
            return Landed()
        names = sql.SQL(", ").join(sql.Identifier(name) for name in self._columns)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(self._arriving, names)) as copy:
                for row in rows:
                    copy.write_row([_text(row.get(name)) for name in self._columns])
            cursor.execute(self._insert(names))
            written = cursor.rowcount
        return Landed(written=written, known=len(rows) - written)

    def _insert(self, names: sql.Composable) -> sql.Composed:
        """Return the statement that takes what has arrived into the table."""
        return sql.SQL("INSERT INTO {} ({names}) SELECT {names} FROM {arriving} ON CONFLICT DO NOTHING").format(
            self._table, names=names, arriving=self._arriving
        )

    def _copy_what_fits(self, rows: Sequence[Row]) -> Landed:
        """Copy rows; the one that PostgreSQL refuses is found by halves, and put aside with what it says."""
        try:
            return self._copy(rows)
        except psycopg.DataError as error:
            if len(rows) > 1:
                half = len(rows) // 2
                return self._copy_what_fits(rows[:half]) + self._copy_what_fits(rows[half:])
            (row,) = rows
            self._connection.execute(
                "INSERT INTO hot.refused VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (
                    self._spec.name,
                    row["_topic_id"],
                    row["_partition"],
                    row["_offset"],
                    repr({**row, "_timestamp": row["_timestamp"].isoformat()}).encode(),
                    str(error).splitlines()[0],
                ),
            )
            return Landed(refused=(row,))


def _text(value: Any) -> Any:
    """Return what COPY takes: JSON for lists and objects, and text that PostgreSQL can hold."""
    if isinstance(value, dict | list):
        return Jsonb(value)
    if isinstance(value, str) and "\0" in value:
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value
