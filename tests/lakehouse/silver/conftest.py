"""Raw events through a feed's parser, ingest function and gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse.catalog import Catalog
from lakehouse.quality import compile_gate, load
from lakehouse.quality.parse import parse_json, wire_schema
from lakehouse.testing import rows_of
from lakehouse.workspace import Workspace

Ingest = Callable[[str, Iterable[bytes | None]], list[dict[str, Any]]]


@pytest.fixture
def ingest(spark: SparkSession, catalog: Catalog, reference_workspace: Workspace) -> Ingest:
    """Return the rows of a feed's table: its columns, ``suspect`` (not proven readable at once), ``reasons``, ``warnings``."""

    def run(feed: str, values: Iterable[bytes | None]) -> list[dict[str, Any]]:
        spec = catalog.ingest(feed)
        assert spec.parse and spec.function and spec.suite
        parsed = parse_json(F.col("value"), wire_schema(spec.parse))
        raw = spark.createDataFrame([(None if x is None else bytearray(x),) for x in values], "value BINARY")
        read = raw.select("value", parsed.root.alias(parsed.alias), parsed.shape.alias(parsed.shape_alias))
        table = spec.function(read.select(parsed.suspect.alias("_record"), *parsed.fields))
        gate = compile_gate(load(reference_workspace, spec.suite), table.drop("_record").schema)
        verdict = [F.col("_record").alias("suspect"), gate.reasons().alias("reasons"), gate.warnings().alias("warnings")]
        return rows_of(table.select(*table.drop("_record").columns, *verdict))

    return run
