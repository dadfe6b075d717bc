"""The control database: who owns the tables, what each batch did, what operators asked for.

It lives in the schema ``tidemill`` of the workspace's PostgreSQL. Nothing in it is the only copy of data: the tables and their
checkpoints are in the object store, and counts can be proved from there (:mod:`lakehouse.account`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

log = logging.getLogger(__name__)

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS tidemill;
CREATE TABLE IF NOT EXISTS tidemill.lease (
    name text PRIMARY KEY, token bigint NOT NULL, holder text NOT NULL, host text NOT NULL, pid int NOT NULL,
    process_started double precision NOT NULL, expires_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS tidemill.batch (
    "table" text NOT NULL, epoch int NOT NULL, batch_id bigint NOT NULL, finished_at timestamptz NOT NULL DEFAULT now(),
    duration_ms bigint NOT NULL, rows_read bigint NOT NULL, rows_written bigint NOT NULL, dead_letters bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0, detail jsonb NOT NULL DEFAULT '{}', PRIMARY KEY ("table", epoch, batch_id));
CREATE INDEX IF NOT EXISTS batch_recent ON tidemill.batch ("table", finished_at DESC);
CREATE TABLE IF NOT EXISTS tidemill.table_state (
    "table" text PRIMARY KEY, state text NOT NULL, reason text NOT NULL DEFAULT '', updated_at timestamptz NOT NULL DEFAULT now(),
    detail jsonb NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS tidemill.request (
    id bigserial PRIMARY KEY, verb text NOT NULL, "table" text NOT NULL, asked_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting', message text NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS tidemill.undeclared_field (
    feed text NOT NULL, epoch int NOT NULL, batch_id bigint NOT NULL, field text NOT NULL, records bigint NOT NULL,
    PRIMARY KEY (feed, epoch, batch_id, field));
CREATE TABLE IF NOT EXISTS tidemill.validated ("table" text PRIMARY KEY, version bigint NOT NULL, passed boolean NOT NULL,
    expectations int NOT NULL, failed int NOT NULL, finished_at timestamptz NOT NULL DEFAULT now());
"""


class Control:
    """A connection to the control database that comes back by itself after the server was away.

    Safe to share between threads; statements run one at a time.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[DictRow] | None = None
        with self.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7461)")  # two commands may make the schema at once
            cursor.execute(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Cursor[DictRow]]:
        """Run statements in one transaction; a broken connection is dropped, and the next call opens another."""
        with self._connected() as connection, connection.transaction(), connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[DictRow]]:
        with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._dsn, autocommit=True, row_factory=dict_row, connect_timeout=5)
            try:
                yield self._connection
            except psycopg.OperationalError:
                self._connection.close()
                raise

    @retry(
        retry=retry_if_exception_type(psycopg.OperationalError),
        wait=wait_exponential(0.1, max=2),
        stop=stop_after_delay(10),
        reraise=True,
    )
    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run one statement, which is a transaction; returns its rows. Retried for 10 s while the server is away."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def outside(self, sql: str) -> None:
        """Run a statement that cannot be part of a transaction."""
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql.encode())

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def record_batch(
        self,
        table: str,
        epoch: int,
        batch_id: int,
        *,
        duration_ms: int,
        rows_read: int,
        rows_written: int,
        dead_letters: int = 0,
        duplicates: int = 0,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Record what a batch did; recording a batch again, after a crash, changes nothing in the sums."""
        self.run(
            'INSERT INTO tidemill.batch ("table", epoch, batch_id, duration_ms, rows_read, rows_written, dead_letters, '
            'duplicates, detail) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT ("table", epoch, batch_id) DO UPDATE '
            "SET finished_at = now(), duration_ms = excluded.duration_ms, rows_read = excluded.rows_read, "
            "rows_written = excluded.rows_written, dead_letters = excluded.dead_letters, duplicates = excluded.duplicates, "
            "detail = excluded.detail",
            (table, epoch, batch_id, duration_ms, rows_read, rows_written, dead_letters, duplicates, Jsonb(detail or {})),
        )

    def set_state(self, table: str, state: str, reason: str = "", detail: dict[str, Any] | None = None) -> None:
        """Say how a table's query fares: ``running``, ``paused``, ``stopped`` or ``idle``."""
        self.run(
            'INSERT INTO tidemill.table_state ("table", state, reason, detail) VALUES (%s, %s, %s, %s) ON CONFLICT ("table") '
            "DO UPDATE SET state = excluded.state, reason = excluded.reason, detail = excluded.detail, updated_at = now()",
            (table, state, reason, Jsonb(detail or {})),
        )

    def say(self, table: str, state: str, reason: str = "") -> None:
        """Say how a table's query fares, as :meth:`set_state`; while the server is away nobody is told, and the query goes on."""
        try:
            self.set_state(table, state, reason[:500])
        except psycopg.OperationalError as error:
            log.info("Nobody could be told that %s is %s", table, state, exc_info=error)

    def note(self, table: str, detail: dict[str, Any]) -> None:
        """Write down something about a table's query that changes while its state does not; nobody is told while the server is away."""
        try:
            self.run('UPDATE tidemill.table_state SET detail = %s, updated_at = now() WHERE "table" = %s', (Jsonb(detail), table))
        except psycopg.OperationalError as error:
            log.info("Nobody could be told how %s fares", table, exc_info=error)

    def batches(self, table: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return the latest batches of a table, newest first."""
        return self.run('SELECT * FROM tidemill.batch WHERE "table" = %s ORDER BY finished_at DESC LIMIT %s', (table, limit))

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each table's query."""
        return {row["table"]: row for row in self.run("SELECT * FROM tidemill.table_state")}

    def undeclared_fields(self, feed: str) -> dict[str, int]:
        """Return the fields that records of a feed had and nobody declared, with the number of records."""
        rows = self.run(
            "SELECT field, sum(records)::bigint AS n FROM tidemill.undeclared_field WHERE feed = %s "
            "GROUP BY field ORDER BY n DESC",
            (feed,),
        )
        return {row["field"]: row["n"] for row in rows}

    def ask(self, verb: str, table: str) -> int:
        """Leave a request for the owner of the tables; returns its number."""
        return int(self.run('INSERT INTO tidemill.request (verb, "table") VALUES (%s, %s) RETURNING id', (verb, table))[0]["id"])

    def waiting_requests(self) -> list[dict[str, Any]]:
        """Return the requests that no owner has taken yet, oldest first."""
        return self.run("SELECT * FROM tidemill.request WHERE state = 'waiting' ORDER BY id")

    def answer(self, request: int, state: str, message: str = "") -> None:
        """Say how a request went: ``running``, ``done`` or ``failed``."""
        self.run("UPDATE tidemill.request SET state = %s, message = %s WHERE id = %s", (state, message, request))

    def request_state(self, request: int) -> tuple[str, str]:
        """Return a request's state and message."""
        (row,) = self.run("SELECT state, message FROM tidemill.request WHERE id = %s", (request,))
        return row["state"], row["message"]

    def now(self) -> datetime:
        """Return the database's clock."""
        moment: datetime = self.run("SELECT now() AS now")[0]["now"]
        return moment
