"""The lake lane: one query a table, started, watched and started again.

A query that fails for a reason of its own (a record that breaks a ``fail`` rule, a lost topic, a function that throws) stops,
says why, and leaves the others running. One that fails because a server is away, or a disk is full, pauses and goes on by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from py4j.protocol import Py4JError, Py4JNetworkError

from lakehouse.catalog import TableSpec
from lakehouse.errors import DataLossError, LeaseLostError, TidemillError
from lakehouse.lanes.bronze import BronzeTable
from lakehouse.lanes.context import Context
from lakehouse.lanes.derive import DerivedTable
from lakehouse.lanes.ingest import IngestTable
from lakehouse.lanes.reference import ReferenceTable
from lakehouse.lanes.trouble import LOST, SCHEMA_CHANGED, first_line, passes_by_itself, pause, told
from lakehouse.session import cores

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger(__name__)


class Streaming(Protocol):
    """What the lane needs of a table that has a query."""

    def prepare(self) -> None:
        """Make the table and check the declaration."""

    def stream(self) -> DataFrame:
        """Return what the query reads."""

    def process(self, batch: DataFrame, batch_id: int) -> None:
        """Do one batch; the same batch again changes nothing."""


@dataclass
class _Run:
    """One table's query and how it fares; reference tables have no query, and are done once they are made."""

    spec: TableSpec
    table: Streaming | ReferenceTable
    preparing: Future[None] | None = None
    query: StreamingQuery | None = None
    error: BaseException | None = None
    state: str = "idle"
    pauses: int = 0
    again_at: float = 0.0
    last_batch: int = -1
    epoch: int = 0
    prepared: bool = False


class _StoppingError(Exception):
    """A batch has not begun, because the lane is asked to stop."""


class LakeLane:
    """All tables of a workspace."""

    def __init__(self, context: Context, only: Iterable[str] | None = None) -> None:
        """Plan the queries.

        Args:
            context: What they share.
            only: ``layer.name`` of the tables to run; all when left out.
        """
        self._context = context
        wanted = set(only) if only is not None else None
        self._runs: list[_Run] = []
        # More batches at once than cores finish no sooner, they all finish late; in turns, the first ones finish early.
        self._slots = threading.BoundedSemaphore(cores(context.settings))
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="prepare")
        self._stop = threading.Event()
        for spec in context.catalog:
            if wanted is not None and spec.full_name not in wanted:
                continue
            if spec.layer == "reference":
                self._runs.append(_Run(spec, ReferenceTable(context, spec)))
            elif spec.layer == "bronze":
                self._runs.append(_Run(spec, BronzeTable(context, spec)))
            elif spec.is_ingest:
                self._runs.append(_Run(spec, IngestTable(context, spec)))
            else:
                self._runs.append(_Run(spec, DerivedTable(context, spec)))

    def stop(self) -> None:
        """Ask :meth:`run` to end after the batches in flight; safe from a signal handler or another thread."""
        self._stop.set()

    @property
    def stopped_tables(self) -> dict[str, str]:
        """Tables that stopped for a reason of their own, with the sentence."""
        return {run.spec.full_name: str(run.error) for run in self._runs if run.state == "stopped"}

    def run_once(self, on_table: Callable[[str, str], None] = lambda *_: None) -> None:
        """Bring every table up to the end of what its input holds now, inputs first, and stop.

        Args:
            on_table: Called with a table's name and its state.
        """
        try:
            self._prepare()
            for level in self._levels:
                open_runs = [run for run in level if run.state != "stopped"]
                while open_runs and not self._stop.is_set():
                    for run in open_runs:
                        if self._may_start(run):
                            self._start(run, once=True)
                            on_table(run.spec.full_name, run.state)
                        self._watch(run)
                    for run in [run for run in open_runs if run.state in ("done", "stopped")]:
                        on_table(run.spec.full_name, run.state)
                        open_runs.remove(run)
                    self._stop.wait(0.05)
        finally:
            self._end()

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Keep every table up to date until :meth:`stop`.

        Args:
            on_tick: Called about twice a second from this thread, for validation on a cadence and the operators' requests.

        Raises:
            LeaseLostError: Another process owns the tables now.
        """
        try:
            self._prepare()
            while not self._stop.wait(0.5):
                for run in self._runs:
                    if self._may_start(run):
                        self._start(run, once=False)
                    self._watch(run)
                    if isinstance(run.error, LeaseLostError):
                        raise run.error
                on_tick()
        finally:
            self._end()

    @property
    def waiting(self) -> bool:
        """True when every query runs and waits for data: what has arrived is through all layers."""
        return all(
            run.query is not None and not run.query.status["isDataAvailable"] and not run.query.status["isTriggerActive"]
            for run in self._runs
            if run.state not in ("stopped", "done")
        )

    @property
    def _levels(self) -> list[list[_Run]]:
        """The queries in rounds: those of one round read only tables of earlier rounds."""
        depth: dict[str, int] = {}
        for run in self._runs:
            above = [depth[source.name] + 1 for source in run.spec.inputs.values() if source.name in depth]
            depth[run.spec.full_name] = max(above, default=0)
        return [[run for run in self._runs if depth[run.spec.full_name] == n] for n in range(max(depth.values(), default=-1) + 1)]

    def _prepare(self) -> None:
        """Begin to make all tables, inputs first, four at a time: each waits for the object store most of the time."""
        begun: dict[str, Future[None]] = {}
        for run in self._runs:
            inputs = [begun[source.name] for source in run.spec.inputs.values() if source.name in begun]
            run.preparing = begun[run.spec.full_name] = self._pool.submit(self._prepare_one, run, inputs)

    def _prepare_one(self, run: _Run, inputs: Sequence[Future[None]]) -> None:
        wait(inputs)
        try:
            run.table.prepare()
            run.prepared = True
        except Exception as error:  # classified like the failure of a query
            self._failed(run, error)

    def _may_start(self, run: _Run) -> bool:
        made = run.preparing is None or run.preparing.done()
        return made and run.state in ("idle", "paused") and time.monotonic() >= run.again_at

    def rebuild(self, full_name: str) -> int:
        """Reprocess one table from its input; its query stands still meanwhile, and goes on after it. Returns the rows."""
        (run,) = [run for run in self._runs if run.spec.full_name == full_name]
        if not isinstance(run.table, IngestTable | DerivedTable):
            raise TidemillError(f"{full_name} holds what came in; there is nothing to rebuild it from.")
        if run.preparing is not None:
            wait([run.preparing])
        if run.query is not None:
            run.query.stop()
            run.query = None
        run.table.prepare()
        rows = run.table.rebuild()
        run.state, run.error, run.again_at = "idle", None, 0.0
        return rows

    def _start(self, run: _Run, *, once: bool) -> None:
        context, spec = self._context, run.spec
        run.query, run.error = None, None
        try:
            if not run.prepared:
                run.table.prepare()
                run.prepared = True
            if isinstance(run.table, ReferenceTable):
                self._say(run, "done")
                return
            writer = run.table.stream().writeStream.foreachBatch(self._guarded(run.table, run)).queryName(spec.full_name)
            writer = writer.option("checkpointLocation", context.checkpoint(spec))
            writer = writer.trigger(availableNow=True) if once else writer.trigger(processingTime=context.settings.lake.trigger)
            run.epoch = context.epoch(spec).number
            run.query = writer.start()
            run.last_batch = -1
            self._say(run, "running")
        except Exception as error:  # every failure is classified below
            self._failed(run, error)

    def _watch(self, run: _Run) -> None:
        if run.query is None:
            return
        try:
            self._note_progress(run)
            if run.query.isActive:
                return
            cause = run.query.exception()
            run.query = None
            if cause is None:
                self._say(run, "done")
            else:
                self._failed(run, run.error or cause)
        except psycopg.OperationalError:
            return  # the control database is away; the next look tries again

    def _failed(self, run: _Run, error: BaseException) -> None:
        text = told(error)
        run.prepared = False
        if isinstance(error, Py4JNetworkError):
            raise error
        if LOST.search(text) and run.spec.layer == "bronze" and not isinstance(error, TidemillError):
            error = DataLossError(
                f"Topic of feed {run.spec.name} no longer holds records that were not read yet, so they are lost; "
                f"`tidemill run --accept-loss {run.spec.name}` goes on with what it holds now."
            )
        if passes_by_itself(error, text):
            run.pauses = 0 if SCHEMA_CHANGED.search(text) else run.pauses + 1
            run.again_at = time.monotonic() + (0 if run.pauses == 0 else pause(run.pauses))
            log.info("%s pauses", run.spec.full_name, exc_info=error)
            self._say(run, "paused", first_line(error))
            return
        run.error = error
        log.info("%s stops", run.spec.full_name, exc_info=error)
        self._say(run, "stopped", first_line(error))

    def _note_progress(self, run: _Run) -> None:
        """Hand the query's own figures on: rate, lag and durations of each batch."""
        assert run.query is not None
        for progress in run.query.recentProgress:
            batch = int(progress["batchId"])
            if batch <= run.last_batch or not progress["numInputRows"]:
                continue
            run.last_batch, run.pauses = batch, 0
            detail: dict[str, Any] = {
                "rows_per_second": progress["processedRowsPerSecond"],
                "durations_ms": progress["durationMs"],
                "at": progress["timestamp"],
            }
            if run.spec.layer == "bronze":
                metrics = progress["sources"][0]["metrics"]
                self._context.control.record_batch(
                    run.spec.full_name,
                    run.epoch,
                    batch,
                    duration_ms=int(progress["durationMs"].get("triggerExecution", 0)),
                    rows_read=progress["numInputRows"],
                    rows_written=progress["numInputRows"],
                    detail={"lag": metrics.get("maxOffsetsBehindLatest")},
                )
            self._context.control.set_state(run.spec.full_name, run.state, "", detail)

    def _say(self, run: _Run, state: str, reason: str = "") -> None:
        run.state = state
        self._context.control.say(run.spec.full_name, state, reason)

    def _guarded(self, table: Streaming, run: _Run) -> Callable[[DataFrame, int], None]:
        """Do batches in turns, and keep the error that one raised: Spark passes on its text only."""

        def process(batch: DataFrame, batch_id: int) -> None:
            try:
                with self._slots:
                    if self._stop.is_set():  # it waited for its turn; the next process does this batch
                        raise _StoppingError
                    table.process(batch, batch_id)
            except Exception as error:
                run.error = error
                raise

        return process

    def _end(self) -> None:
        """Stop all queries at once: each ends the batch that it is at, and none begins another while it waits for the others."""
        self._pool.shutdown(cancel_futures=True)
        with ThreadPoolExecutor(len(self._runs) or 1) as pool:
            list(pool.map(self._end_one, self._runs))

    def _end_one(self, run: _Run) -> None:
        if run.query is not None:
            if not isinstance(run.error, _StoppingError):
                self._watch(run)
            try:
                if run.query is not None:
                    run.query.stop()
            except Py4JError as error:
                if not isinstance(error, Py4JNetworkError):
                    raise
            run.query = None
        if run.state == "running":
            self._say(run, "idle")
