"""The owner of the tables: the lake lane, and all that must go through its one writer.

Validation on a cadence, the audit log's way to the lake, compaction, and what operators ask for from other processes (``tidemill
rebuild``) happen here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pandas as pd
import psycopg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import TableSpec
from lakehouse.errors import TidemillError
from lakehouse.lanes.context import Context
from lakehouse.lanes.lake import LakeLane
from lakehouse.lanes.trail import Trail
from lakehouse.quality import append_results, load, prune_results, validate
from lakehouse.quality.validation import private
from lakehouse.storage.warm import latest_version

_CHANGE_COLUMNS = ("_change_type", "_commit_version", "_commit_timestamp")


class Owner:
    """Runs the lake lane of a workspace; made by the one process that holds the lease."""

    def __init__(self, context: Context, only: Iterable[str] | None = None) -> None:
        """Plan the queries; see :class:`~lakehouse.lanes.lake.LakeLane`."""
        self._context = context
        self.lane = LakeLane(context, only)
        self._every = pd.Timedelta(context.settings.lake.validate_every).total_seconds()
        self._validated_at = time.monotonic()
        self._validation: threading.Thread | None = None
        self._looked_at = 0.0
        self._trail = Trail(context)

    def run_once(self, on_table: Callable[[str, str], None] = lambda *_: None) -> dict[str, str]:
        """Bring all tables up to date, validate what landed, and stop; returns the tables that stopped, with the reason."""
        self.lane.run_once(on_table)
        on_table("quality", "running")
        self.validate()
        self._trail.carry()
        on_table("quality", "done")
        return self.lane.stopped_tables

    def run(self) -> dict[str, str]:
        """Keep all tables up to date until the lane is asked to stop; returns the tables that stopped, with the reason."""
        self.lane.run(self._tick)
        if self._validation is not None:
            self._validation.join()
        return self.lane.stopped_tables

    def validate(self) -> None:
        """Run Great Expectations over the commits of each table that it has not seen yet."""
        for spec in self._context.catalog:
            if spec.suite is not None:
                self._validate(spec)
        prune_results(
            self._context.spark, self._results, pd.Timedelta(self._context.settings.quality.results_retention).to_pytimedelta()
        )

    @property
    def _results(self) -> str:
        return f"{self._context.settings.lake_uri}/quality/results"

    def _validate(self, spec: TableSpec) -> None:
        context = self._context
        assert spec.suite is not None
        rows = context.control.run('SELECT version FROM tidemill.validated WHERE "table" = %s', (spec.full_name,))
        seen = rows[0]["version"] if rows else 0
        latest = latest_version(context.spark, context.path(spec))
        if latest <= seen:
            return
        landed = self._landed(spec, seen + 1, latest)
        suite = load(context.workspace, spec.suite)
        if spec.personal is not None:  # what landed there are ciphertexts; the gate has seen the values
            hidden = set(spec.personal.columns)
            suite = replace(suite, rules=tuple(rule for rule in suite.rules if not private(rule, hidden)))
        result = validate(
            landed,
            suite,
            context.workspace.state,
            table=spec.full_name,
            from_version=seen + 1,
            to_version=latest,
            pii=set(spec.pii),
        )
        append_results(context.spark, self._results, result.rows)
        context.control.run(
            'INSERT INTO tidemill.validated ("table", version, passed, expectations, failed) VALUES (%s, %s, %s, %s, %s) '
            'ON CONFLICT ("table") DO UPDATE SET version = excluded.version, passed = excluded.passed, '
            "expectations = excluded.expectations, failed = excluded.failed, finished_at = now()",
            (spec.full_name, latest, result.success, len(result.rows), sum(not row.success for row in result.rows)),
        )

    def _landed(self, spec: TableSpec, first: int, last: int) -> DataFrame:
        """Return the rows that a range of commits wrote, as they stand after it."""
        reader = self._context.spark.read.format("delta").option("readChangeFeed", "true")
        changes = reader.option("startingVersion", first).option("endingVersion", last).load(self._context.path(spec))
        landed = changes.where(F.col("_change_type").isin("insert", "update_postimage"))
        return landed.drop(*_CHANGE_COLUMNS, *[c for c in landed.columns if c.startswith("_")])

    def _tick(self) -> None:
        if time.monotonic() - self._looked_at < 1:
            return
        self._looked_at = time.monotonic()
        try:
            for request in self._context.control.waiting_requests():
                self._answer(request)
        except psycopg.OperationalError:
            return  # the control database is away; requests wait in it
        busy = self._validation is not None and self._validation.is_alive()
        if not busy and time.monotonic() - self._validated_at >= self._every:
            self._validated_at = time.monotonic()
            self._validation = threading.Thread(target=self._validate_quietly, name="validation", daemon=True)
            self._validation.start()

    def _validate_quietly(self) -> None:
        """Validate, carry the audit log, let keys expire; what goes wrong is shown with the tables, and tried again next time."""
        try:
            self.validate()
            self._trail.carry()
            self._context.protector.expire()
            self._context.control.say("quality", "running")
        except Exception as error:  # a validation that fails must not stop the tables
            self._context.control.say("quality", "paused", f"{type(error).__name__}: {error}")

    def _answer(self, request: dict[str, Any]) -> None:
        control = self._context.control
        if request["verb"] != "rebuild":
            control.answer(request["id"], "failed", f"This version does not know how to {request['verb']}.")
            return
        control.answer(request["id"], "running")
        try:
            rows = self.lane.rebuild(request["table"])
        except TidemillError as error:
            control.answer(request["id"], "failed", str(error))
        else:
            control.answer(request["id"], "done", f"{rows:,} rows")
