"""The windows of a live table in PostgreSQL: one row each, replaced when the window has grown.

Which of two rows for a window is the later one is in the rows themselves (see :mod:`lakehouse.lanes.windows`): within one counting
the one that holds more records; and of two countings, the one that computed last is in the table alone. So a row that comes again,
or late, changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from psycopg import sql

from lakehouse.storage.hot import SCHEMA, HotTable, Row
from lakehouse.storage.partitions import lock
from lakehouse.windows import FRAME


class WindowTable(HotTable):
    """The windows of one live table; for one writer thread, though other processes may write the same table."""

    _counting, _since = "", datetime.min.replace(tzinfo=UTC)

    def prepare(self) -> None:
        """Make the table, or add the columns that it lacks; one with other groups is made anew, as its windows are counted anew."""
        own = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in self._columns.items()]
        digest = hashlib.sha256(repr(self._names).encode()).hexdigest()[:8]
        index = sql.Identifier("hot", f"{self._spec.name}_{digest}")
        with self._connection.transaction():
            lock(self._connection)
            self._connection.execute(SCHEMA)
            if self._connection.execute("SELECT to_regclass(%s)", (index.as_string(None),)).fetchone() == (None,):
                self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table))
            self._connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(self._table, sql.SQL(", ").join(own)))
            for column in own:
                self._connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}").format(self._table, column))
            self._connection.execute(
                sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({}) NULLS NOT DISTINCT").format(
                    sql.Identifier(f"{self._spec.name}_{digest}"), self._table, self._key
                )
            )
            self._connection.execute(
                sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (_timestamp)").format(
                    sql.Identifier(f"{self._spec.name}_clock"), self._table
                )
            )
            self._make_arriving()
        newest = sql.SQL("SELECT _topic_id, computed_at FROM {} ORDER BY computed_at DESC NULLS LAST LIMIT 1").format(self._table)
        if found := self._connection.execute(newest).fetchone():
            self._counting, self._since = found
        self._clock = self._read_clock()

    @property
    def _names(self) -> tuple[str, ...]:
        """Columns that name a window: span, start, group."""
        return (*FRAME[:2], *self._spec.keys[1:])

    @property
    def _key(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(name) for name in self._names)

    def _insert(self, names: sql.Composable) -> sql.Composed:
        """Return the statement that lets the windows that have arrived replace what they are later than."""
        changed = [sql.Identifier(name) for name in self._columns if name not in self._names]
        return sql.SQL(
            "INSERT INTO {table} AS t ({names}) SELECT DISTINCT ON ({key}) {names} FROM {arriving} WHERE _topic_id = {counting} "
            "ORDER BY {key}, _offset DESC ON CONFLICT ({key}) DO UPDATE SET {changes} "
            "WHERE t._topic_id <> excluded._topic_id OR t._offset < excluded._offset"
        ).format(
            table=self._table,
            arriving=self._arriving,
            names=names,
            key=self._key,
            counting=sql.Literal(self._counting),
            changes=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in changed),
        )

    def _make_room(self, rows: Sequence[Row]) -> None:
        """Let the windows of an earlier counting go when another one has begun: of another declaration, or topic."""
        known = self._counting
        for row in rows:
            if (computed := _moment(row.get("computed_at"))) >= self._since:
                self._counting, self._since = row["_topic_id"], computed
        if self._counting != known:
            self._connection.execute(sql.SQL("DELETE FROM {} WHERE _topic_id <> %s").format(self._table), (self._counting,))

    def _let_go(self, horizon: datetime) -> None:
        self._connection.execute(sql.SQL("DELETE FROM {} WHERE _timestamp < %s").format(self._table), (horizon,))

    def partitions(self) -> list[datetime]:
        """Return none: windows are few, and change, so they lie in one table."""
        return []


def _moment(text: object) -> datetime:
    """Return when a window was computed; the beginning of time for what no fast lane wrote."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        found = datetime.min
    return found if found.tzinfo else found.replace(tzinfo=UTC)
