"""Silver and gold tables that are computed from others: when inputs change, just the keys that changed are computed again.

The table's function is a plain batch function. Its inputs' change data feeds say which keys changed; the function is given the
rows of those keys alone, and what it returns replaces what the table had for them. Computing a key again gives the same row, so
a batch may be run twice, and the table always equals one batch over everything.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import reduce
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Input, Key, TableSpec, Trunc
from lakehouse.errors import DeclarationError
from lakehouse.lanes.context import Context
from lakehouse.lanes.kept import Kept
from lakehouse.lanes.writes import append_once, replace_all
from lakehouse.storage.warm import Upkeep, ensure_table, latest_version

_PRESENT = "_present"


class DerivedTable:
    """The query of one derived table."""

    def __init__(self, context: Context, spec: TableSpec) -> None:
        self._context = context
        self._spec = spec
        self._path = context.path(spec)
        self._upkeep = Upkeep(context.spark, self._path, optimize_every=context.settings.lake.optimize_every)
        self._keyed: dict[str, dict[str, Column]] = {}

    def prepare(self) -> None:
        """Make the table; compute all of it when reference data changed, or a rebuild was cut off.

        Raises:
            DeclarationError: The function fails, or its result lacks a key, or no input has the keys.
        """
        context, spec = self._context, self._spec
        for parameter, source in spec.inputs.items():
            keys = self._key_expressions(source)
            if keys is not None:
                self._keyed[parameter] = keys
        if not self._keyed:
            raise DeclarationError(f"{spec.full_name}: no input has its keys {list(spec.keys)}; say where they come from.")
        out = self._compute({name: self._read(source) for name, source in spec.inputs.items()})
        if lacking := [key for key in spec.keys if key not in out.columns]:
            raise DeclarationError(f"{spec.full_name} does not select its keys {lacking}.")
        ensure_table(
            context.spark,
            self._path,
            out.schema,
            stats_columns=list(dict.fromkeys([*spec.keys, *spec.cluster_by])),
            cluster_by=spec.cluster_by,
            retention=context.settings.lake.vacuum_retention,
        )
        epoch = context.epoch(spec)
        if epoch.rebuilding or (epoch.inputs and epoch.inputs != self._reference_versions()):
            self.rebuild()
        elif not epoch.inputs:
            context.epochs.put(spec.full_name, replace(epoch, inputs=self._reference_versions()))

    def stream(self) -> DataFrame:
        """Return what the query reads: the keys that changed in any input."""
        epoch = self._context.epoch(self._spec)
        streams = []
        for parameter, keys in self._keyed.items():
            source = self._spec.inputs[parameter].name
            reader = self._context.spark.readStream.format("delta").option("readChangeFeed", "true")
            if source in epoch.options:
                reader = reader.option("startingVersion", epoch.options[source])
            changes = reader.load(self._context.path(self._context.catalog[source]))
            streams.append(changes.select(*[column.alias(name) for name, column in keys.items()]))
        return reduce(DataFrame.union, streams)

    def rebuild(self) -> int:
        """Compute the whole table and replace it in one commit; returns its rows."""
        context, spec = self._context, self._spec
        context.lease.check()
        context.epochs.put(spec.full_name, replace(context.epoch(spec), rebuilding=True))
        versions = {source.name: latest_version(context.spark, self._input_path(source)) for source in spec.inputs.values()}
        inputs = {name: self._read(source, versions[source.name]) for name, source in spec.inputs.items()}
        with Kept() as keep:
            rows = keep(self._compute(inputs))
            replace_all(rows, self._path)
            written = rows.count()
        keyed = {spec.inputs[parameter].name for parameter in self._keyed}
        epoch = context.epochs.next(
            spec.full_name,
            # From the version that was read, not the next: it may not be there yet, and computing a key again is harmless.
            options={name: str(version) for name, version in versions.items() if name in keyed},
            inputs=self._reference_versions(),
        )
        context.control.record_batch(
            spec.full_name, epoch.number, -1, duration_ms=0, rows_read=written, rows_written=written, detail={"rebuilt": True}
        )
        return written

    def process(self, keys: DataFrame, batch_id: int) -> None:
        """Compute the rows of the changed keys again and merge them in."""
        with Kept() as keep:
            self._land(keys, batch_id, keep)
        self._upkeep.after_batch(batch_id)

    def _land(self, keys: DataFrame, batch_id: int, keep: Kept) -> None:
        context, spec, started = self._context, self._spec, time.monotonic()
        changed = keep(keys.distinct())
        bounds = changed.agg(
            F.count("*").alias("n"),
            *[F.min(f"`{key}`").alias(f"min {key}") for key in spec.keys],
            *[F.max(f"`{key}`").alias(f"max {key}") for key in spec.keys],
            *[F.count_if(F.col(f"`{key}`").isNull()).alias(f"null {key}") for key in spec.keys],
        ).first()
        if bounds is None or bounds["n"] == 0:
            return
        inputs = {
            name: self._changed_rows(source, self._keyed[name], changed, bounds) if name in self._keyed else self._read(source)
            for name, source in spec.inputs.items()
        }
        rows = keep(self._compute(inputs))
        context.lease.check()
        table = DeltaTable.forPath(context.spark, self._path)
        if table.toDF().isEmpty():
            append_once(rows, self._path, context.epoch(spec).transaction(spec.full_name), batch_id)
        else:
            self._merge(table, rows, changed, bounds)
        context.control.record_batch(
            spec.full_name,
            context.epoch(spec).number,
            batch_id,
            duration_ms=round((time.monotonic() - started) * 1000),
            rows_read=bounds["n"],
            rows_written=rows.count(),
        )

    def _merge(self, table: DeltaTable, rows: DataFrame, changed: DataFrame, bounds: Any) -> None:
        keys = self._spec.keys
        present = rows.withColumn(_PRESENT, F.lit(True))
        on = reduce(Column.__and__, [changed[key].eqNullSafe(present[key]) for key in keys])
        source = changed.join(present, on, "left").select(
            *[changed[key] for key in keys], *[present[c] for c in rows.columns if c not in keys], present[_PRESENT]
        )
        matched = " AND ".join(f"t.`{key}` <=> s.`{key}`" for key in keys)
        near = reduce(Column.__and__, [_within(F.col(f"t.`{key}`"), key, bounds) for key in keys])
        differs = reduce(Column.__or__, [~F.col(f"t.`{c}`").eqNullSafe(F.col(f"s.`{c}`")) for c in rows.columns])
        values: dict[str, str | Column] = {f"`{c}`": F.col(f"s.`{c}`") for c in rows.columns}
        (
            table.alias("t")
            .merge(source.alias("s"), F.expr(matched) & near)
            .whenMatchedDelete(f"s.{_PRESENT} IS NULL")
            .whenMatchedUpdate(differs, values)
            .whenNotMatchedInsert(f"s.{_PRESENT}", values)
            .execute()
        )

    def _changed_rows(self, source: Input, keys: dict[str, Column], changed: DataFrame, bounds: Any) -> DataFrame:
        """Return the rows of an input that belong to the changed keys."""
        rows = self._read(source)
        for name in keys:
            rows = rows.where(_within_input(source.keys.get(name, name), name, bounds))
        renamed = changed.select(*[F.col(f"`{name}`").alias(f"_key_{name}") for name in self._spec.keys])
        on = reduce(Column.__and__, [column.eqNullSafe(renamed[f"_key_{name}"]) for name, column in keys.items()])
        return rows.join(renamed, on, "left_semi")

    def _key_expressions(self, source: Input) -> dict[str, Column] | None:
        """Return where each key comes from in an input; ``None`` for an input that has none of them declared."""
        columns = set(self._read(source).columns)
        if source.name.startswith("reference."):
            return None
        found = {}
        for key in self._spec.keys:
            where = source.keys.get(key, key)
            column = where.column if isinstance(where, Trunc) else where
            if column not in columns:
                raise DeclarationError(
                    f"{self._spec.full_name}: its key {key} is no column of {source.name}; say which one it comes from: "
                    f'Input("{source.name}", {key}="…"). There are: {", ".join(sorted(columns))}.'
                )
            found[key] = F.date_trunc(where.unit, f"`{column}`") if isinstance(where, Trunc) else F.col(f"`{column}`")
        return found

    def _reference_versions(self) -> dict[str, int]:
        context = self._context
        names = [source.name for name, source in self._spec.inputs.items() if name not in self._keyed]
        return {name: latest_version(context.spark, context.path(context.catalog[name])) for name in names}

    def _input_path(self, source: Input) -> str:
        return self._context.path(self._context.catalog[source.name])

    def _read(self, source: Input, version: int | None = None) -> DataFrame:
        reader = self._context.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self._input_path(source))

    def _compute(self, inputs: dict[str, DataFrame]) -> DataFrame:
        assert self._spec.function is not None
        try:
            out: DataFrame = self._spec.function(**inputs)
        except Exception as error:
            raise DeclarationError(f"{self._spec.full_name}: its function fails: {str(error).splitlines()[0]}") from error
        return out


def _within(column: Column, key: str, bounds: Any) -> Column:
    """Limit a key column to the range of the changed keys, so that files outside of it are skipped."""
    inside = column.between(F.lit(bounds[f"min {key}"]), F.lit(bounds[f"max {key}"]))
    return inside | column.isNull() if bounds[f"null {key}"] else inside


def _within_input(where: Key, key: str, bounds: Any) -> Column:
    if not isinstance(where, Trunc):
        return _within(F.col(f"`{where}`"), key, bounds)
    column = F.col(f"`{where.column}`")
    low, high = F.lit(bounds[f"min {key}"]), F.lit(bounds[f"max {key}"])
    inside = (column >= low) & (column < high + F.expr(f"INTERVAL 1 {where.unit}"))
    return inside | column.isNull() if bounds[f"null {key}"] else inside
