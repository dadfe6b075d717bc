"""Tidemill: the lake lane on the benchmark's workspace, as ``tidemill run --once`` runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from lakehouse.catalog import Kafka
from lakehouse.lanes.context import Context
from lakehouse.lanes.lake import LakeLane
from lakehouse.lanes.session import owning
from lakehouse.sources.replay import publish
from lakehouse.workspace import Workspace

from ..generate import events

SMALL_COMMITS = 20
SMALL_BATCH = 100
"""How many small batches are published to the warm lane, and how many events are in each."""

_PATIENCE = 120.0
_TABLES = ("bronze.events", "silver.events", "gold.events_by_minute")


@contextmanager
def ready(workspace: Workspace) -> Iterator[Job]:
    """Take the lease and start the driver."""
    with owning(workspace, "tidemill bench lake") as context:
        yield Job(context)


class Job:
    """The work that is timed, and the small commits afterwards."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def work(self) -> dict[str, float]:
        """Bring bronze, silver and gold to the end of the topic; returns the seconds of each."""
        begun: dict[str, float] = {}
        seconds: dict[str, float] = {}

        def note(table: str, state: str) -> None:
            now = time.monotonic()
            begun.setdefault(table, now)
            if state != "running":
                seconds[table.partition(".")[0]] = now - begun[table]

        lane = LakeLane(self._context)
        lane.run_once(note)
        if lane.stopped_tables:
            raise RuntimeError(" ".join(lane.stopped_tables.values()))
        return seconds

    def small_commits(self, published: int, batches: int = SMALL_COMMITS) -> dict[str, list[float]]:
        """Publish small batches one by one to the warm lane, each when the one before is in gold.

        Args:
            published: How many events the topic holds.
            batches: How many batches.

        Returns:
            Milliseconds of each commit. ``bronze``: one whole trigger of the bronze query, as Spark measures it: ask Kafka for
            its end, write the offset log, read and append the records in one Delta commit, write the commit log. ``silver``
            and ``gold``: the lane's own work for one batch, from its records to the last commit. ``end_to_end``: from
            before the batch is published until it is in gold, with the waits between the queries' triggers.
        """
        control, before = self._context.control, self._now()
        lane = LakeLane(self._context)
        thread = threading.Thread(target=lane.run, name="lane", daemon=True)
        thread.start()
        end_to_end = []
        try:
            for number in range(batches):
                start, begun = published + number * SMALL_BATCH, time.monotonic()
                publish(self._context.settings, Kafka("events"), events(start, start + SMALL_BATCH))
                self._wait_for(start + SMALL_BATCH, lane, thread)
                end_to_end.append((time.monotonic() - begun) * 1000)
        finally:
            lane.stop()
            thread.join(_PATIENCE)
        durations = {
            table.partition(".")[0]: [
                float(row["duration_ms"]) for row in control.batches(table, 1000) if row["finished_at"] > before
            ]
            for table in _TABLES
        }
        return durations | {"end_to_end": end_to_end}

    def _now(self) -> datetime:
        return self._context.control.now()

    def _wait_for(self, total: int, lane: LakeLane, thread: threading.Thread) -> None:
        """Wait until silver has read ``total`` records, and every table recorded a batch behind its input's last one."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and thread.is_alive() and not lane.stopped_tables:
            rows = self._context.control.run(
                'SELECT "table", sum(rows_read) AS read, max(finished_at) AS last FROM tidemill.batch GROUP BY "table"'
            )
            found = {row["table"]: row for row in rows}
            bronze, silver, gold = (found[table] for table in _TABLES)
            if bronze["read"] >= total and silver["read"] >= total and gold["last"] >= silver["last"]:
                return
            time.sleep(0.02)
        reasons = " ".join(lane.stopped_tables.values()) or "it takes too long, or the lane ended"
        raise RuntimeError(f"A small batch did not reach gold: {reasons}.")
