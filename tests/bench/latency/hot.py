"""When rows became visible in the hot store: PostgreSQL itself writes down when each transaction was committed.

So nobody polls, and nothing is taken from what is measured. The moment is taken just before the commit is flushed to disk;
:func:`flush_ms` measures how much later a client knows that it is committed.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from lakehouse.stack.postgres import Postgres


class ClockedPostgres(Postgres):
    """The embedded PostgreSQL, keeping the time of each commit."""

    def argv(self) -> list[str]:
        """Return the command line."""
        return [*super().argv(), "--track_commit_timestamp=on"]


def seen(dsn: str, feed: str, start_us: int, expected: int, deadline: float) -> NDArray[np.int64]:
    """Wait until so many rows of a load are in the hot table, or until the deadline, and return when each was committed.

    Args:
        dsn: Where PostgreSQL is.
        feed: The table.
        start_us: The load's first moment.
        expected: How many rows.
        deadline: Seconds since 1970.

    Returns:
        Two columns: ``sent_us``, and the moment of the commit, microseconds since 1970.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        while _count(connection, feed, start_us) < expected and time.time() < deadline:
            time.sleep(0.5)
        rows = connection.execute(
            f"SELECT sent_us, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1e6)::bigint FROM hot.{feed} WHERE sent_us >= %s",
            (start_us,),
        ).fetchall()
        connection.execute(f"TRUNCATE hot.{feed}")
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def flush_ms(dsn: str, times: int = 50) -> float:
    """Return how much later, in milliseconds (median), a client knows of a commit than PostgreSQL writes down."""
    later = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bench_probe (n int)")
        for number in range(times):
            connection.execute("INSERT INTO bench_probe VALUES (%s)", (number,))
            now = time.time()
            row = connection.execute(
                "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM bench_probe WHERE n = %s", (number,)
            ).fetchone()
            later.append(now - (row[0] if row else now))
        connection.execute("DROP TABLE bench_probe")
    return float(np.median(later) * 1_000)


def _count(connection: psycopg.Connection[Any], feed: str, start_us: int) -> int:
    try:
        row = connection.execute(f"SELECT count(*) FROM hot.{feed} WHERE sent_us >= %s", (start_us,)).fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    return int(row[0]) if row else 0
