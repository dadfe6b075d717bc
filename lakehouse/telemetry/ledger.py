"""What the lane wrote down in the control database, read in one short transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from lakehouse.clients import postgres_dsn
from lakehouse.control import Control
from lakehouse.errors import SettingsError
from lakehouse.lease import FAST, LAKE
from lakehouse.settings import Settings

WINDOW_SECONDS = 900
"""How far back single batches are read: what rates, lags and charts are made of."""

_BATCH = """"table", epoch, batch_id, finished_at, extract(epoch FROM finished_at)::float8 AS finished, duration_ms, rows_read,
    rows_written, (detail->>'lag')::numeric::bigint AS lag"""
# One index look-up for each table, however long the ledger is.
_LAST = f"""SELECT b.* FROM unnest(%s::text[]) AS t(name), LATERAL (
    SELECT {_BATCH} FROM tidemill.batch WHERE "table" = t.name ORDER BY finished_at DESC LIMIT 1) AS b"""
_RECENT = f"""SELECT {_BATCH} FROM tidemill.batch
    WHERE "table" = ANY(%s) AND finished_at > now() - %s * interval '1 second' ORDER BY finished_at"""
_POSITIONS = """SELECT b."table", topic.key AS topic_id, at.key::int AS partition, max(at.value::bigint) AS next
    FROM unnest(%s::text[]) AS t(name), LATERAL (
        SELECT "table", CASE jsonb_typeof(detail->'positions') WHEN 'object' THEN detail->'positions' END AS positions
        FROM tidemill.batch WHERE "table" = t.name ORDER BY finished_at DESC LIMIT %s) AS b,
    jsonb_each(b.positions) AS topic, jsonb_each_text(topic.value) AS at GROUP BY 1, 2, 3"""
_REASONS = """SELECT reason.key AS reason, sum(reason.value::bigint)::bigint AS records
    FROM tidemill.batch AS b, jsonb_each_text(
        CASE jsonb_typeof(detail->'reasons') WHEN 'object' THEN detail->'reasons' END) AS reason
    WHERE b."table" = %s AND b.dead_letters > 0 AND b.epoch = (SELECT max(epoch) FROM tidemill.batch WHERE "table" = %s)
    GROUP BY 1 ORDER BY 2 DESC, 1"""
_UNDECLARED = """SELECT feed, field, sum(records)::bigint AS records FROM tidemill.undeclared_field
    GROUP BY 1, 2 ORDER BY 3 DESC, 2"""
_WAITING = """SELECT coalesce(sum(rows_written), 0)::bigint AS all, coalesce(sum(rows_written)
        FILTER (WHERE finished_at > now() - %s * interval '1 second'), 0)::bigint AS late
    FROM tidemill.batch WHERE "table" = ANY(%s) AND finished_at > %s"""
_NEWEST_POSITIONS = 200
SLACK_SECONDS = 3.0
"""A batch is recorded a while after its commit, so one that was recorded this soon after its reader began may have been read."""
LATE_SECONDS = 300.0
"""How long rows may wait for a running query before it is clear that they are none of its business."""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)

Positions = dict[str, dict[int, int]]
"""Topic id → partition → the offset after the last record that was judged."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of one table.

    Attributes:
        table: ``layer.name``.
        epoch: Epoch of the table.
        batch_id: Number of the batch in its epoch; -1 for a rebuild.
        finished_at: When it was recorded.
        finished: The same in seconds since 1970.
        duration_ms: How long it took, in milliseconds.
        rows_read: Records, rows or keys that it read.
        rows_written: Rows that it wrote.
        lag: Bronze: records of the topic that were left when it ended.
    """

    table: str
    epoch: int
    batch_id: int
    finished_at: datetime
    finished: float
    duration_ms: int
    rows_read: int
    rows_written: int
    lag: int | None = None

    @property
    def started(self) -> float:
        """When it began, in seconds since 1970."""
        return self.finished - self.duration_ms / 1000


@dataclass(frozen=True)
class Waiting:
    """Rows that inputs wrote since a derived table's last batch began.

    Attributes:
        all: All of them.
        late: Those of the last :data:`LATE_SECONDS`.
    """

    all: int
    late: int


@dataclass(frozen=True)
class Ledger:
    """The control database at one moment.

    Attributes:
        now: Its clock.
        states: Table → its row in ``table_state``.
        last: Table → its latest batch.
        recent: The batches of the last :data:`WINDOW_SECONDS`, oldest first.
        waiting: Derived table → rows of its inputs that it has not read.
        positions: Ingest table → how far it has judged.
        undeclared: Feed → field → records.
        validated: Table → its row in ``validated``.
        lease: The row of the writer's lease, if there ever was a writer, with ``alive``.
        fast_lease: The same of the fast lane.
        clocks: Live table, or its windows → the feed clock that its rows in the hot store have come to.
    """

    now: datetime
    states: Mapping[str, Mapping[str, Any]]
    last: Mapping[str, Batch]
    recent: Sequence[Batch]
    waiting: Mapping[str, Waiting]
    positions: Mapping[str, Positions]
    undeclared: Mapping[str, Mapping[str, int]]
    validated: Mapping[str, Mapping[str, Any]]
    lease: Mapping[str, Any] | None
    fast_lease: Mapping[str, Any] | None = None
    clocks: Mapping[str, datetime] = field(default_factory=dict)


def open_control(settings: Settings) -> Control | None:
    """Connect to the control database; ``None`` when there is none, or it does not answer."""
    try:
        return Control(postgres_dsn(settings))
    except (psycopg.Error, SettingsError):
        return None


def read_ledger(control: Control, tables: Sequence[str], ingest: Sequence[str], derived: Mapping[str, Sequence[str]]) -> Ledger:
    """Read everything but the reasons.

    Args:
        control: The control database.
        tables: ``layer.name`` of all tables.
        ingest: ``layer.name`` of the tables that read bronze.
        derived: ``layer.name`` of the other tables that have a query → those that they read.

    Raises:
        psycopg.OperationalError: The database is away; this is not retried, for the next reading comes soon.
    """
    with control.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

        def ask(sql: str, *parameters: Any) -> list[dict[str, Any]]:
            return cursor.execute(sql.encode(), parameters).fetchall()

        leases = {row["name"]: row for row in ask("SELECT *, expires_at > now() AS alive FROM tidemill.lease")}
        undeclared: dict[str, dict[str, int]] = {}
        for row in ask(_UNDECLARED):
            undeclared.setdefault(row["feed"], {})[row["field"]] = row["records"]
        last = {row["table"]: Batch(**row) for row in ask(_LAST, list(tables))}
        waiting = {}
        for table, inputs in derived.items():
            own = last.get(table)
            since = own.finished_at - timedelta(milliseconds=own.duration_ms, seconds=-SLACK_SECONDS) if own else _EVER
            waiting[table] = Waiting(**ask(_WAITING, LATE_SECONDS, list(inputs), since)[0])
        hot = ask("SELECT to_regclass('hot.clock') IS NOT NULL AS is_there")[0]["is_there"]
        return Ledger(
            now=ask("SELECT now() AS now")[0]["now"],
            states={row["table"]: row for row in ask("SELECT * FROM tidemill.table_state")},
            last=last,
            recent=[Batch(**row) for row in ask(_RECENT, list(tables), WINDOW_SECONDS)],
            waiting=waiting,
            positions=_positions(ask(_POSITIONS, list(ingest), _NEWEST_POSITIONS)),
            undeclared=undeclared,
            validated={row["table"]: row for row in ask("SELECT * FROM tidemill.validated")},
            lease=leases.get(LAKE),
            fast_lease=leases.get(FAST),
            clocks={row["feed"]: row["at"] for row in ask("SELECT feed, at FROM hot.clock")} if hot else {},
        )


def all_positions(control: Control, table: str) -> Positions:
    """Return how far an ingest table has judged, from all of its batches: for partitions that had no record for long."""
    with control.transaction() as cursor:
        rows = cursor.execute(_POSITIONS.encode(), ([table], None)).fetchall()
    return _positions(rows).get(table, {})


def dead_letter_reasons(control: Control, table: str) -> dict[str, int]:
    """Return reason → dead letters of an ingest table, since it was last rebuilt; the most frequent one first."""
    with control.transaction() as cursor:
        rows = cursor.execute(_REASONS.encode(), (table, table)).fetchall()
    return {row["reason"]: row["records"] for row in rows}


def _positions(rows: Sequence[Mapping[str, Any]]) -> dict[str, Positions]:
    found: dict[str, Positions] = {}
    for row in rows:
        found.setdefault(row["table"], {}).setdefault(row["topic_id"], {})[row["partition"]] = row["next"]
    return found
