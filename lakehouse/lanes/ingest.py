"""Bronze → the feed's silver table: each record becomes a row, a dead letter or a proven duplicate, exactly once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from lakehouse.catalog import TableSpec
from lakehouse.deadletter.envelope import DEAD_LETTER, RECORD, SILVER_ORIGIN, duplicate_schema
from lakehouse.errors import GateFailedError
from lakehouse.lanes import dedup
from lakehouse.lanes.context import Context
from lakehouse.lanes.judge import Judge
from lakehouse.lanes.kept import Kept
from lakehouse.lanes.writes import append_once, replace_all
from lakehouse.quality import LoadedSuite, load
from lakehouse.storage.warm import Upkeep, ensure_table, latest_version

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

_GOOD = "_reasons IS NULL AND _failures IS NULL AND NOT _suspect"


@dataclass
class _Sums:
    """What a pass over a judged batch counted."""

    read: int = 0
    good: int = 0
    suspects: int = 0
    failing: int = 0
    undeclared: int = 0
    warned: dict[str, int] | None = None
    positions: dict[str, dict[str, int]] | None = None
    lowest: Any = None
    highest: Any = None
    newest: Any = None

    @property
    def dead(self) -> int:
        """Records that are no good rows; meant for when no suspects are left."""
        return self.read - self.good

    def with_settled(self, settled: _Sums) -> _Sums:
        """Return the sums with what became of the suspects, which were read but not yet judged."""
        return replace(
            self,
            good=self.good + settled.good,
            suspects=0,
            failing=self.failing + settled.failing,
            warned={rule: count + (settled.warned or {})[rule] for rule, count in (self.warned or {}).items()},
            lowest=min((x for x in (self.lowest, settled.lowest) if x is not None), default=None),
            highest=max((x for x in (self.highest, settled.highest) if x is not None), default=None),
        )


class IngestTable:
    """The query of one feed's silver table."""

    def __init__(self, context: Context, spec: TableSpec) -> None:
        self._context = context
        self._spec = spec
        self._path = context.path(spec)
        self._bronze = context.path(context.catalog[f"bronze.{spec.feed}"])
        self._dead_letters = context.side_path("dead_letters", spec.feed)
        self._duplicates = context.side_path("duplicates", spec.feed)
        self._upkeep = [
            Upkeep(context.spark, path, optimize_every=context.settings.lake.optimize_every)
            for path in (self._path, self._dead_letters, self._duplicates)
        ]
        self._judge: Judge | None = None

    def prepare(self) -> None:
        """Compile the suite and make the tables; finish a rebuild that was cut off.

        Raises:
            DeclarationError: The declaration cannot run.
            KeyringError: Its personal data cannot be protected.
            SuiteError: The suite cannot be a gate.
        """
        context, spec = self._context, self._spec
        suite: LoadedSuite | None = load(context.workspace, spec.suite) if spec.suite else None
        self._judge = Judge.compile(context.spark, spec, suite, context.protector.of(spec))
        own = self._judge.landed
        keys = StructType([own[name] for name in spec.keys])
        retention = context.settings.lake.vacuum_retention
        stats = dict.fromkeys([*spec.keys, spec.event_time or "", *spec.cluster_by, "_partition", "_offset"])
        ensure_table(
            context.spark,
            self._path,
            StructType([*own.fields, *SILVER_ORIGIN.fields]),
            stats_columns=list(stats),
            cluster_by=spec.cluster_by,
            retention=retention,
        )
        for path, schema in ((self._dead_letters, DEAD_LETTER), (self._duplicates, duplicate_schema(keys))):
            ensure_table(
                context.spark, path, schema, stats_columns=["partition", "offset"], retention=retention, change_feed=False
            )
        if context.epoch(spec).rebuilding:
            self.rebuild()

    def stream(self) -> DataFrame:
        """Return what the query reads: what lands in bronze."""
        return (
            self._context.spark.readStream.format("delta")
            .option("maxBytesPerTrigger", "96m")
            .options(**self._context.epoch(self._spec).options)
            .load(self._bronze)
        )

    def rebuild(self) -> int:
        """Judge all of bronze again and replace the table, its dead letters and its duplicates; returns the rows.

        Each of the three is replaced in one commit. A crash between them leaves the epoch marked, and the next start runs the
        whole rebuild again before anything else is read.
        """
        context, spec = self._context, self._spec
        context.lease.check()
        context.epochs.put(spec.full_name, replace(context.epoch(spec), rebuilding=True))
        with Kept() as keep:
            return self._judge_again(keep)

    def _judge_again(self, keep: Kept) -> int:
        context, spec = self._context, self._spec
        version = latest_version(context.spark, self._bronze)
        bronze = context.spark.read.format("delta").option("versionAsOf", version).load(self._bronze)
        judged = keep(self._compiled.judge(bronze))
        judged = judged.where("NOT _suspect").union(keep(self._compiled.examine(judged.where("_suspect"))))
        self._refuse_failures(judged)
        judged = keep(self._compiled.protect(judged)) if spec.personal else judged
        good = judged.where(_GOOD)
        standing = context.spark.createDataFrame([], StructType([*self._compiled.landed.fields, *SILVER_ORIGIN.fields]))
        repeats = keep(dedup.duplicates(good, standing, self._key_columns))
        rows = keep(self._rows(dedup.without(good, repeats)))
        dead = keep(self._letters(judged))
        replace_all(dead, self._dead_letters)
        replace_all(repeats, self._duplicates)
        replace_all(rows, self._path)
        written = rows.count()
        epoch = context.epochs.next(spec.full_name, options={"startingVersion": str(version + 1)})
        context.control.record_batch(
            spec.full_name,
            epoch.number,
            -1,
            duration_ms=0,
            rows_read=judged.count(),
            rows_written=written,
            dead_letters=dead.count(),
            duplicates=repeats.count(),
            detail={"rebuilt_from": version},
        )
        return written

    @property
    def _compiled(self) -> Judge:
        assert self._judge is not None, "prepare() comes first"
        return self._judge

    @property
    def _key_columns(self) -> list[str]:
        return [f"`{key}`" for key in self._spec.keys]

    def process(self, records: DataFrame, batch_id: int) -> None:
        """Do one batch. Run again after a kill at any point, it ends in the same tables."""
        with Kept() as keep:
            self._land(records, batch_id, keep)
        for upkeep in self._upkeep:
            upkeep.after_batch(batch_id)

    def _land(self, records: DataFrame, batch_id: int, keep: Kept) -> None:
        context, spec, started = self._context, self._spec, time.monotonic()
        judged = keep(self._compiled.judge(records))
        sums = self._sum(judged)
        if sums.read == 0:
            return
        if sums.suspects:
            settled = keep(self._compiled.examine(judged.where("_suspect")))  # just they are kept anew: they are few
            sums = sums.with_settled(self._sum(settled))
            judged = judged.where("NOT _suspect").union(settled)
        if sums.failing:
            self._refuse_failures(judged)
        judged = self._compiled.protect(judged)
        repeats = self._repeats(judged.where(_GOOD), sums, keep)
        good = judged.where(_GOOD) if repeats is None else dedup.without(judged.where(_GOOD), repeats)
        duplicates = 0 if repeats is None else repeats.count()
        bad = keep(judged.where(f"NOT ({_GOOD})")) if sums.dead else None
        transaction = context.epoch(spec).transaction(spec.full_name)
        context.lease.check()
        if bad is not None:
            append_once(self._letters(bad), self._dead_letters, transaction, batch_id)
        if repeats is not None:
            append_once(repeats, self._duplicates, transaction, batch_id)
        append_once(self._rows(good), self._path, transaction, batch_id)
        context.set_aside.discard(spec.full_name)
        if sums.undeclared:
            self._name_undeclared(judged, batch_id)
        context.control.record_batch(
            spec.full_name,
            context.epoch(spec).number,
            batch_id,
            duration_ms=round((time.monotonic() - started) * 1000),
            rows_read=sums.read,
            rows_written=sums.good - duplicates,
            dead_letters=sums.dead,
            duplicates=duplicates,
            detail={
                "reasons": {} if bad is None else self._count_reasons(bad),
                "warned": sums.warned,
                "positions": sums.positions,
                "newest": str(sums.newest),
            },
        )

    def _sum(self, judged: DataFrame) -> _Sums:
        """Count a judged batch in one pass, by partition."""
        gate, first = self._compiled.gate, F.col(self._key_columns[0])
        good = F.expr(_GOOD)
        warnings = {rule: predicate for rule, predicate in gate.predicates.items() if rule in _warn_ids(gate)} if gate else {}
        counted = judged.groupBy("_topic_id", "_partition").agg(
            F.count("*").alias("read"),
            F.count_if(good).alias("good"),
            F.count_if("_suspect").alias("suspects"),
            F.count_if(F.col("_failures").isNotNull() & ~F.col("_suspect")).alias("failing"),
            F.count_if(F.col("_undeclared").isNotNull()).alias("undeclared"),
            F.max("_offset").alias("last"),
            F.min(F.when(good, first)).alias("lowest"),
            F.max(F.when(good, first)).alias("highest"),
            F.max("_timestamp").alias("newest"),
            *[F.count_if(good & predicate).alias(f"warn {rule}") for rule, predicate in warnings.items()],
        )
        return _total(counted.collect(), list(warnings))

    def _repeats(self, good: DataFrame, sums: _Sums, keep: Kept) -> DataFrame | None:
        """Return the duplicates among good records, or ``None`` when there are none."""
        if not sums.good:
            return None
        first = F.col(self._key_columns[0])
        # The range skips every file of the table that cannot hold one of these keys: all but the newest, for keys in time order.
        standing = (
            self._context.spark.read.format("delta")
            .load(self._path)
            .where(first.between(F.lit(sums.lowest), F.lit(sums.highest)))
        )
        hashes = keep(dedup.repeated_hashes(good, standing, self._key_columns, sums.good))
        if hashes.isEmpty():
            return None
        repeats = keep(dedup.duplicates(good, standing, self._key_columns, hashes))
        return None if repeats.isEmpty() else repeats

    def _rows(self, good: DataFrame) -> DataFrame:
        return good.select(*[f"`{name}`" for name in self._compiled.schema.names], *SILVER_ORIGIN.names)

    def _letters(self, judged: DataFrame) -> DataFrame:
        suite = self._compiled.suite
        values: dict[str, Column] = {
            "reasons": F.concat(F.coalesce("_reasons", F.array().cast("array<string>")), F.coalesce("_failures", F.array())),
            "suite": F.lit(suite.name if suite else None).cast("string"),
            "suite_version": F.lit(suite.version if suite else None).cast("string"),
            "dead_at": F.current_timestamp(),
            "replayed_at": F.lit(None).cast("timestamp"),
        }
        values |= {name: F.col("_raw")[name] for name in RECORD.names}
        return judged.where(f"NOT ({_GOOD})").select(*[values[name].alias(name) for name in DEAD_LETTER.names])

    def _refuse_failures(self, judged: DataFrame) -> None:
        """Stop before anything is written when a record broke a ``fail`` rule, unless the operator set the batch aside."""
        spec, gate = self._spec, self._compiled.gate
        if gate is None or spec.full_name in self._context.set_aside:
            return
        row = judged.where("_failures IS NOT NULL AND NOT _suspect").orderBy("_partition", "_offset").first()
        if row is None:
            return
        rule = row["_failures"][0]
        shown = {name: row[name] for name in self._compiled.schema.names}
        example = ", ".join(f"{name}={str(value)[:80]}" for name, value in shown.items() if name not in spec.pii)
        raise GateFailedError(
            f"{spec.full_name} stopped: {gate.describe(rule)} does not hold for the record at partition {row['_partition']}, "
            f"offset {row['_offset']} ({example}). Nothing of its batch was written. Mend expectations/{spec.suite} or the "
            f"source and run again, or `tidemill run --set-aside {spec.full_name}` moves the batch's failing records to the "
            "dead letters."
        )

    def _name_undeclared(self, judged: DataFrame, batch_id: int) -> None:
        fields = judged.select(F.explode("_undeclared").alias("field")).groupBy("field").count().orderBy(F.desc("count"))
        for row in fields.limit(100).collect():
            self._context.control.run(
                "INSERT INTO tidemill.undeclared_field VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (
                    self._spec.feed,
                    self._context.epoch(self._spec).number,
                    batch_id,
                    row["field"][:200].replace("\0", ""),
                    row["count"],
                ),
            )

    def _count_reasons(self, judged: DataFrame) -> dict[str, int]:
        letters = self._letters(judged).select(F.explode("reasons").alias("reason")).groupBy("reason").count()
        return {row["reason"]: row["count"] for row in letters.collect()}


def _warn_ids(gate: Any) -> set[str]:
    return {rule.id for rule in gate.suite.rules if rule.action == "warn"}


def _total(rows: Sequence[Row], rules: Sequence[str]) -> _Sums:
    positions: dict[str, dict[str, int]] = {}
    for row in rows:
        positions.setdefault(row["_topic_id"], {})[str(row["_partition"])] = row["last"] + 1

    def of(name: str) -> list[Any]:
        return [row[name] for row in rows if row[name] is not None]

    return _Sums(
        read=sum(of("read")),
        good=sum(of("good")),
        suspects=sum(of("suspects")),
        failing=sum(of("failing")),
        undeclared=sum(of("undeclared")),
        warned={rule: sum(of(f"warn {rule}")) for rule in rules},
        positions=positions,
        lowest=reduce(min, of("lowest")) if of("lowest") else None,
        highest=reduce(max, of("highest")) if of("highest") else None,
        newest=reduce(max, of("newest")) if of("newest") else None,
    )
