"""The fast lane: one Real-time Mode query a live table, Kafka → parse → the same gate → Kafka, and one for its windows.

Good records go to ``<feed>.live`` as the live table's rows, the others to ``<feed>.dlq`` with their reasons; each one says which
source record it came from. The Kafka sink writes at least once, so readers go by that position, never by the record's own.
Dead letters land in Delta by the lake lane alone: what is in ``<feed>.dlq`` is for those who watch.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
from py4j.protocol import Py4JNetworkError
from pyspark.sql import functions as F

from lakehouse.catalog import Catalog, Kafka, TableSpec
from lakehouse.clients import postgres_dsn, spark_kafka
from lakehouse.control import Control
from lakehouse.deadletter.envelope import POSITION
from lakehouse.errors import DataLossError, DeclarationError, TidemillError
from lakehouse.lanes.judge import Judge
from lakehouse.lanes.protect import Protector
from lakehouse.lanes.records import MESSAGE_JSON, as_records, read_latest, read_topic
from lakehouse.lanes.reference import digests, read_reference
from lakehouse.lanes.trouble import LOST, first_line, passes_by_itself, pause, told
from lakehouse.lanes.windows import Counted, Freshness, window_messages, windows_of
from lakehouse.livetables import LiveSpec, WindowSpec
from lakehouse.quality import load
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic, recent_offsets, topic_id
from lakehouse.storage.hot import ORIGIN, column_type, declare
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.streaming.readwriter import DataStreamWriter

log = logging.getLogger(__name__)

_CONSUMER = {
    "kafka.max.poll.records": "5000",
    "kafka.fetch.max.wait.ms": "5",
    "kafka.fetch.min.bytes": "65536",
    "kafka.check.crcs": "true",
}
# One request at a time: what comes while it is on its way goes with the next.
_PRODUCER = {
    "kafka.linger.ms": "2",
    "kafka.batch.size": "262144",
    "kafka.max.in.flight.requests.per.connection": "1",
    "kafka.acks": "all",
}
# What a live table's function may do to rows: anything else would drop, add or hold back some.
_ROW_WISE = {"Project", "Join", "SubqueryAlias", "LogicalRDD", "LocalRelation", "ResolvedHint", "View", "Relation", "WithCTE"}
_WARM_RECORDS, _WARM_ROUNDS = 20_000, 8
_SEQUENCES = {"timestamp", "timestamp_ntz", "byte", "short", "integer", "long"}


@dataclass
class _Run:
    """One live table's query and how it fares."""

    spec: LiveSpec
    query: StreamingQuery | None = None
    state: str = "idle"
    error: BaseException | None = None
    pauses: int = 0
    again_at: float = 0.0
    references: dict[str, str] = field(default_factory=dict)
    stale: bool = False
    began: float = field(default_factory=time.monotonic)
    freshness: Freshness = field(default_factory=Freshness)


class FastLane:
    """All live tables of a workspace; made by the one process that holds the lease ``fast``."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        catalog: Catalog,
        tables: Mapping[str, LiveSpec],
        spark: SparkSession,
        control: Control,
    ) -> None:
        """Plan the queries of live tables and of windows; nothing runs yet."""
        self._workspace = workspace
        self._settings = settings
        self._catalog = catalog
        self._spark = spark
        self._control = control
        self._protector = Protector(workspace, settings, spark, control)
        self._runs = [_Run(spec) for spec in tables.values()]
        self._stop = threading.Event()
        self._looked_at = time.monotonic()

    def stop(self) -> None:
        """Ask :meth:`run` to end; safe from a signal handler or another thread."""
        self._stop.set()

    @property
    def stopped_tables(self) -> dict[str, str]:
        """Live tables that stopped for a reason of their own, with the sentence."""
        return {run.spec.full_name: str(run.error) for run in self._runs if run.state == "stopped"}

    def warm_up(self) -> None:
        """Take the latest records through the plans and throw the rows away, so that their code is compiled when the queries begin.

        What goes wrong here goes wrong again when they run, and is told there.
        """
        for run in self._runs:
            source = self._catalog[f"bronze.{run.spec.feed}"].source
            if source is None or isinstance(run.spec, WindowSpec):  # windows take the same rows
                continue
            try:
                records = as_records(read_latest(self._spark, self._settings, source.topic, _WARM_RECORDS), "")
                messages = self.messages(run.spec, self.rows(run.spec, records, self.references(run.spec)))
                for _ in range(_WARM_ROUNDS):
                    if not self._stop.is_set():
                        messages.write.format("noop").mode("overwrite").save()
            except Exception as error:
                log.info("live.%s is not warmed up", run.spec.name, exc_info=error)

    def run(self) -> dict[str, str]:
        """Keep all queries running until :meth:`stop`; returns the tables that stopped, with the reason."""
        try:
            while True:
                for run in self._runs:
                    if run.state in ("idle", "paused") and time.monotonic() >= run.again_at:
                        self._start(run)
                    self._watch(run)
                self._refresh()
                if self._stop.wait(0.2) or all(run.state == "stopped" for run in self._runs):
                    return self.stopped_tables
        finally:
            for run in self._runs:
                if run.query is not None:
                    with suppress(Py4JNetworkError):
                        run.query.stop()
                if run.state == "running":
                    self._say(run, "idle")

    def rows(self, spec: LiveSpec, records: DataFrame, references: Mapping[str, pd.DataFrame]) -> DataFrame:
        """Return the live table's rows, good or not, and ``_record``: which record each came from, and its verdict.

        Args:
            spec: The live table.
            records: Columns of :data:`~lakehouse.deadletter.envelope.RECORD`.
            references: What :meth:`references` gave.

        Raises:
            DeclarationError: The table's function fails, or does what is not row-wise.
            KeyringError: Its feed carries personal data, which cannot be protected.
            SuiteError: The suite cannot be a gate.
        """
        ingest = self._catalog.ingest(spec.feed)
        suite = load(self._workspace, ingest.suite) if ingest.suite else None
        judge = Judge.compile(self._spark, ingest, suite, self._protector.of(ingest))
        judged = judge.protect(judge.examine(judge.judge(records, keep=["headers"])))
        verdict = F.struct(
            *[F.col(f"_{name}").alias(name) for name in (*POSITION.names, "timestamp", "headers")],
            F.col("_reasons").alias("reasons"),
            F.col("_failures").alias("failures"),
            F.col("_raw.value").alias("value"),
            F.col("_raw.payload_key_id").alias("payload_key_id"),
        )
        events = judged.select(*[F.col(f"`{name}`") for name in judge.schema.names], verdict.alias("_record"))
        return self._transformed(spec, ingest, events, references)

    def messages(self, spec: LiveSpec, rows: DataFrame) -> DataFrame:
        """Return what the query writes for the rows that :meth:`rows` gave: ``topic``, ``key``, ``value``, and the record's headers.

        What stands in the headers goes with the row: the producer's time of sending, and what tracers put there.
        """
        own = [F.col(f"`{name}`") for name in rows.columns if name != "_record"]
        record = F.col("_record")
        origin = [record[name].alias(f"_{name}") for name in (*POSITION.names, "timestamp")]
        good = record["reasons"].isNull()
        letter = F.struct(
            *origin, record["reasons"].alias("reasons"), F.base64(record["value"]).alias("value"), record["payload_key_id"]
        )
        value = F.when(good, F.to_json(F.struct(*own, *origin), MESSAGE_JSON)).otherwise(F.to_json(letter, MESSAGE_JSON))
        return rows.select(
            F.when(good, F.lit(spec.live_topic)).otherwise(F.lit(spec.dead_letter_topic)).alias("topic"),
            F.when(good, F.to_json(F.array(*[F.col(f"`{key}`").cast("string") for key in spec.keys]))).alias("key"),
            F.when(record["failures"].isNotNull(), self._refusal(spec, record)).otherwise(value).alias("value"),
            record["headers"].alias("headers"),
        )

    def windows(self, spec: WindowSpec, records: DataFrame, references: Mapping[str, pd.DataFrame], topic_id: str) -> Counted:
        """Count the good rows of a live table by its windows.

        Args:
            spec: The windows.
            records: As in :meth:`rows`.
            references: As in :meth:`rows`.
            topic_id: Of the source topic.

        Raises:
            DeclarationError: As :meth:`rows`, or the windows fail.
            SuiteError: The suite cannot be a gate.
        """
        rows = self.rows(spec.table, records, references)
        return windows_of(spec, rows, self._catalog.ingest(spec.feed), self._refusal(spec, F.col("_record")), topic_id)

    def _refusal(self, spec: LiveSpec, record: Column) -> Column:
        """A record that breaks a ``fail`` rule ends the query: what came before it has passed, itself and the rest have not."""
        words = [
            F.lit(f"{spec.full_name} stopped: "),
            F.array_join(record["failures"], ", "),
            F.lit(" does not hold for the record at partition "),
            record["partition"].cast("string"),
            F.lit(", offset "),
            record["offset"].cast("string"),
            F.lit(f". Mend expectations/{self._catalog.ingest(spec.feed).suite} or the source and run again."),
        ]
        return F.raise_error(F.concat(*words)).cast("string")

    def _transformed(
        self, spec: LiveSpec, ingest: TableSpec, events: DataFrame, references: Mapping[str, pd.DataFrame]
    ) -> DataFrame:
        inputs = {
            parameter: events if source.name == ingest.full_name else self._spark.createDataFrame(references[source.name])
            for parameter, source in spec.inputs.items()
        }
        try:
            rows: DataFrame = spec.function(**inputs)
            columns = rows.columns
        except Exception as error:
            raise DeclarationError(f"{spec.full_name}: its function fails: {str(error).splitlines()[0]}") from error
        for name in ("_record", *spec.keys, spec.sequence_by):
            if name not in columns:
                raise DeclarationError(f"{spec.full_name} does not select {name}.")
        if ingest.personal and (odd := sorted({*spec.keys, spec.sequence_by} & set(ingest.personal.sealed))):
            raise DeclarationError(
                f"{spec.full_name}: rows cannot be told apart by {odd}, which is sealed, and never twice the same."
            )
        kind = rows.schema[spec.sequence_by].dataType.typeName()
        if kind not in _SEQUENCES:
            raise DeclarationError(
                f"{spec.full_name}: sequence_by names {spec.sequence_by}, a {kind}; name a TIMESTAMP or an integer."
            )
        if odd := _not_row_wise(rows):
            raise DeclarationError(
                f"{spec.full_name} uses {', '.join(odd)}; the fast lane takes each record for itself: select columns, and "
                "left-join reference tables."
            )
        return rows

    def references(self, spec: LiveSpec) -> dict[str, pd.DataFrame]:
        """Read the reference tables that a live table joins; by ``reference.name``.

        Raises:
            DeclarationError: A function fails, or its keys are missing or not unique: a join would repeat rows.
        """
        names = [source.name for source in spec.inputs.values() if source.name.startswith("reference.")]
        return {name: read_reference(self._catalog[name]) for name in names}

    def writer(self, spec: LiveSpec, references: Mapping[str, pd.DataFrame]) -> DataStreamWriter:
        """Return the query of a live table or of windows, whole but for its trigger; its topics are made and its columns declared."""
        settings = self._settings
        source = self._catalog[f"bronze.{spec.feed}"].source
        assert source is not None
        self._ensure_topics(spec, source)
        found = topic_id(settings, source.topic) or ""
        # What is older than the retention would be dropped as it comes. A checkpoint's offsets win over these.
        begin = {str(x): at for x, at in recent_offsets(settings, source.topic, spec.reach).items()}
        options = {"startingOffsets": json.dumps({source.topic: begin})}
        records = as_records(read_topic(self._spark, settings, source.topic, _CONSUMER, options), found)
        # A topic that was made again has records from its beginning on: a checkpoint of its own. So have other windows.
        if isinstance(spec, WindowSpec):
            counted = self.windows(spec, records, references, found)
            rows, frame = counted.rows, window_messages(spec, counted.rows)
            checkpoint = f"windows/{spec.feed}/{counted.counting}"
        else:
            rows = self.rows(spec, records, references)
            frame, checkpoint = self.messages(spec, rows), f"live/{spec.name}/{found}"
        internal = {"_record", *ORIGIN}
        kinds = {x.name: column_type(x.dataType.simpleString()) for x in rows.schema.fields if x.name not in internal}
        declare(postgres_dsn(settings), spec.name, kinds)  # for those that write and read it without Spark
        writer = frame.writeStream.format("kafka").queryName(spec.full_name).outputMode("update")
        writer = writer.options(**{**_PRODUCER, **spark_kafka(settings)})
        return writer.option("checkpointLocation", f"{settings.lake_uri}/checkpoints/{checkpoint}")

    def _start(self, run: _Run) -> None:
        run.error = None
        try:
            references = self.references(run.spec)
            writer = self.writer(run.spec, references)
            run.references = digests(references)
            run.query = writer.trigger(**_trigger(run.spec, self._settings)).start()
            run.began, run.freshness = time.monotonic(), Freshness()
            self._say(run, "running")
        except Exception as error:  # every failure is classified
            self._failed(run, error)

    def _ensure_topics(self, spec: LiveSpec, source: Kafka) -> None:
        ensure_topic(self._settings, source)
        if isinstance(spec, WindowSpec):  # the last row of each window is enough; stamped with the time of day, it may expire
            retention = str(round(spec.retention.total_seconds() * 1000))
            options = {"cleanup.policy": "compact,delete", "retention.ms": retention}
            ensure_topic(self._settings, Kafka(spec.live_topic, partitions=1), options)
            return
        for topic in (spec.live_topic, spec.dead_letter_topic):
            ensure_topic(self._settings, Kafka(topic, source.partitions))

    def _watch(self, run: _Run) -> None:
        if run.query is None:
            return
        if run.query.isActive:
            if run.pauses and time.monotonic() - run.began > 60:
                run.pauses = 0
            if found := run.freshness.look(run.query) if isinstance(run.spec, WindowSpec) else None:
                if found.dropped:
                    self._say(run, "running", f"{found.dropped:,} rows came after their windows were closed, and are in none.")
                self._control.note(run.spec.full_name, {"as_of": found.as_of})
            return
        cause, run.query = run.query.exception(), None
        self._failed(run, cause or TidemillError("Its query ended."))

    def _failed(self, run: _Run, error: BaseException) -> None:
        if isinstance(error, Py4JNetworkError):  # the driver is gone, and cannot come back in this process
            raise error
        text = told(error)
        name = run.spec.name
        if stopped := re.search(rf"live\.{re.escape(name)} stopped: .*? and run again\.", text):
            error = TidemillError(stopped[0])
        elif LOST.search(text) and not isinstance(error, TidemillError):
            error = DataLossError(
                f"Topic of feed {run.spec.feed} no longer holds records that the fast lane had not read yet; `tidemill status` shows "
                "what the lake lane has of them."
            )
        if passes_by_itself(error, text):
            run.pauses += 1
            run.again_at = time.monotonic() + pause(run.pauses)
            log.info("live.%s pauses", name, exc_info=error)
            self._say(run, "paused", first_line(error))
            return
        run.error = error
        log.info("live.%s stops", name, exc_info=error)
        self._say(run, "stopped", first_line(error))

    def _refresh(self) -> None:
        """Every minute, look whether reference data changed; a query that uses it then begins anew where it was."""
        if time.monotonic() - self._looked_at < self._settings.fast.refresh_seconds:
            return
        self._looked_at = time.monotonic()
        for run in self._runs:
            if run.query is None:
                continue
            try:
                found = digests(self.references(run.spec))
            except DeclarationError as error:  # its source may be away; the query goes on with what it has
                log.warning("live.%s goes on with the reference data that it has: %s", run.spec.name, error)
                self._say(run, "running", f"It goes on with the reference data that it has: {error}")
                run.stale = True
                continue
            if found != run.references:
                run.query.stop()
                run.query, run.state, run.stale = None, "idle", False
            elif run.stale:
                run.stale = False
                self._say(run, "running")

    def _say(self, run: _Run, state: str, reason: str = "") -> None:
        run.state = state
        self._control.say(run.spec.full_name, state, reason)


def _trigger(spec: LiveSpec, settings: Settings) -> dict[str, Any]:
    """Say how a query runs, and nothing else does: where Real-time Mode can keep state (Spark 4.3), windows may run in it too."""
    return (
        {"processingTime": settings.fast.windows_trigger} if isinstance(spec, WindowSpec) else {"realTime": settings.fast.batch}
    )


def _not_row_wise(frame: DataFrame) -> list[str]:
    """Return what a transformation does that does not take each row for itself; empty when there is nothing."""
    plan = frame._jdf.queryExecution().analyzed()
    nodes = json.loads(plan.toJSON())
    odd = []
    for node in nodes:
        kind = str(node["class"]).rpartition(".")[2]
        if kind == "Join" and "LeftOuter" not in json.dumps(node.get("joinType", "")):
            odd.append("a join that is not a left join")
        elif "plans.logical" in node["class"] and kind not in _ROW_WISE:
            odd.append(kind)
        if "PythonUDF" in json.dumps(node):
            odd.append("a Python function")
    return sorted(set(odd))
