"""The verdict on each record of a batch: parse, transform, gate, lateness.

Pure: a DataFrame of bronze records in, the same records with their verdicts out. The lane decides what is done with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from lakehouse.catalog import TableSpec
from lakehouse.deadletter.envelope import RECORD
from lakehouse.errors import DeclarationError
from lakehouse.lanes.protect import Protection
from lakehouse.quality import Gate, LoadedSuite, compile_gate
from lakehouse.quality.parse import parse_json, wire_schema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ORIGIN = ("topic_id", "partition", "offset", "timestamp")
_NONE = "array<string>"
SEALED = "sealed: the key of its subject was destroyed, or it was changed since it came"


@dataclass(frozen=True)
class Judge:
    """What a feed's ingest table says of records, compiled once for each run.

    Attributes:
        spec: The ingest table.
        schema: Its own columns.
        gate: Its compiled suite, if it has one.
        suite: The suite, if it has one.
        protection: Of its personal data, if it has some.
    """

    spec: TableSpec
    schema: StructType
    gate: Gate | None
    suite: LoadedSuite | None
    protection: Protection | None = None

    @classmethod
    def compile(
        cls, spark: SparkSession, spec: TableSpec, suite: LoadedSuite | None, protection: Protection | None = None
    ) -> Judge:
        """Check the declaration against Spark, and compile the suite; runs no job.

        Raises:
            DeclarationError: The function fails, drops ``_record``, or its result lacks a key or the event time.
            SuiteError: An expectation cannot be a gate.
        """
        out = _transform(spec, _records(spark.createDataFrame([], RECORD), spec, protection))
        own = StructType([f for f in out.schema.fields if f.name != "_record"])
        if lacking := [c for c in (*spec.keys, spec.event_time) if c not in own.names]:
            raise DeclarationError(f"{spec.full_name} does not select {lacking}, which it declares as key or event time.")
        if reserved := [c for c in own.names if c.startswith("_")]:
            raise DeclarationError(f"{spec.full_name} selects {reserved}; names that begin with an underscore are the lane's.")
        if protection is not None:
            protection.check(own)
        return cls(spec, own, compile_gate(suite, own) if suite else None, suite, protection)

    @property
    def landed(self) -> StructType:
        """The table's own columns as they land."""
        return self.protection.landed(self.schema) if self.protection else self.schema

    def judge(self, records: DataFrame, keep: Sequence[str] = ()) -> DataFrame:
        """Give each record its verdict.

        Args:
            records: Columns of :data:`~lakehouse.deadletter.envelope.RECORD`.
            keep: Which of them good records keep too, each with an underscore before its name.

        Returns:
            The table's own columns, and: ``_topic_id``, ``_partition``, ``_offset``, ``_timestamp``; ``_reasons``
            ARRAY<STRING>, null for a good record; ``_failures`` ARRAY<STRING>, ids of broken ``fail`` rules;
            ``_suspect`` BOOLEAN, :meth:`examine` must still read it; ``_undeclared`` ARRAY<STRING>; ``_raw`` STRUCT, the
            whole record unless it is good. Where there is personal data also ``_tenant`` and ``_subject``, and the table's own
            columns are still in the clear: :meth:`protect` them before they go anywhere.
        """
        out = _transform(self.spec, _records(records, self.spec, self.protection))
        record = F.col("_record")
        reasons = self._reasons(record)
        keep = [*keep, "tenant", "subject"] if self.protection else keep
        failures = self.gate.failures() if self.gate else F.lit(None).cast(_NONE)
        verdict = out.select(
            *[F.col(f"`{name}`") for name in self.schema.names],
            *[record[name].alias(f"_{name}") for name in (*ORIGIN, *keep)],
            reasons.alias("_reasons"),
            failures.alias("_failures"),
            record["suspect"].alias("_suspect"),
            record["undeclared"].alias("_undeclared"),
            "_record",
        )
        good = F.col("_reasons").isNull() & F.col("_failures").isNull() & ~F.col("_suspect")
        raw = F.struct(*[record[name].alias(name) for name in RECORD.names])
        return verdict.withColumn("_raw", F.when(~good, raw)).drop("_record")

    def examine(self, judged: DataFrame) -> DataFrame:
        """Read the suspects among judged records field by field, and settle their verdicts; the others keep theirs."""
        assert self.spec.parse is not None
        value, reasons = F.col("_raw.value"), None
        if self.protection is not None:
            value = self.protection.plain(value, F.col("_raw.payload_key_id"))
            reasons = F.when(value.isNull() & F.col("_raw.value").isNotNull(), F.array(F.lit(SEALED)))
        parsed = parse_json(value, wire_schema(self.spec.parse), alias="_again")
        reasons = parsed.reasons if reasons is None else reasons.otherwise(parsed.reasons)
        return (
            judged.withColumns({parsed.alias: parsed.root, parsed.shape_alias: parsed.shape})
            .withColumn("_why", F.when(F.col("_suspect"), reasons))
            .withColumns(
                {
                    "_reasons": F.coalesce("_why", "_reasons"),
                    "_failures": F.when(F.col("_why").isNull(), F.col("_failures")),
                    "_suspect": F.lit(False),
                }
            )
            .drop(parsed.alias, parsed.shape_alias, "_why")
        )

    def protect(self, judged: DataFrame) -> DataFrame:
        """Return judged rows without anything personal in the clear."""
        return self.protection.protect(judged) if self.protection else judged

    def _reasons(self, record: Column) -> Column:
        """Return why a parsed record is no good row; null when it is one."""
        spec, clock = self.spec, record["timestamp"]
        moment = F.col(f"`{spec.event_time}`")
        checks = [(F.col(f"`{key}`").isNull(), f"key: {key} is missing") for key in spec.keys]
        checks += [
            (moment.isNull(), f"time: {spec.event_time} is missing"),
            (moment < clock - F.expr(f"INTERVAL {spec.watermark}"), f"late: {spec.event_time} is more than {spec.watermark} old"),
            (moment > clock + F.expr(f"INTERVAL {spec.future}"), f"future: {spec.event_time} is more than {spec.future} ahead"),
        ]
        if spec.personal is not None:
            named = {"tenant": spec.personal.tenant, "subject": spec.personal.subject}
            checks += [(record[of].isNull(), f"personal: {field} is missing") for of, field in named.items()]
        wrong = F.lit(False)
        for condition, _ in checks:
            wrong = wrong | F.coalesce(condition, F.lit(False))
        empty = F.array().cast(_NONE)
        texts = F.concat(*[F.when(c, F.array(F.lit(text))).otherwise(empty) for c, text in checks])
        gate = self.gate.reasons() if self.gate else F.lit(None).cast(_NONE)
        return F.when(wrong, F.concat(texts, F.coalesce(gate, empty))).otherwise(gate)


def _records(records: DataFrame, spec: TableSpec, protection: Protection | None) -> DataFrame:
    """Parse: the declared fields as columns, and ``_record``, which says where they came from."""
    assert spec.parse is not None
    wire, value, more = wire_schema(spec.parse), F.col("value"), []
    fields = [F.col(name) for name in RECORD.names]
    if protection is not None:
        records = records.withColumn("_plain", protection.plain(value, F.col("payload_key_id")))
        value = F.col("_plain")
    parsed = parse_json(value, wire)
    if protection is not None:
        more = protection.whose(dict(zip(wire.names, parsed.fields, strict=True)))
    extra = [] if protection is None else [value]  # the counts look at the text again
    first = records.select(*fields, *extra, parsed.root.alias(parsed.alias), parsed.shape.alias(parsed.shape_alias))
    record = F.struct(*fields, parsed.suspect.alias("suspect"), parsed.undeclared.alias("undeclared"), *more)
    return first.select(*parsed.fields, record.alias("_record"))


def _transform(spec: TableSpec, records: DataFrame) -> DataFrame:
    assert spec.function is not None
    try:
        out: DataFrame = spec.function(**{next(iter(spec.inputs)): records})
        columns = out.columns
    except Exception as error:
        raise DeclarationError(f"{spec.full_name}: its function fails: {str(error).splitlines()[0]}") from error
    if "_record" not in columns:
        raise DeclarationError(f'{spec.full_name} drops `_record`, which says where a row came from: select it, "_record".')
    return out
