from __future__ import annotations

import pytest
from pyspark.sql import DataFrame

from lakehouse.catalog import Catalog
from lakehouse.quality import compile_gate, load
from lakehouse.workspace import Workspace


@pytest.mark.parametrize(
    ("table", "known"),
    [
        ("gold.delays_by_carrier_hour", {}),
        ("gold.airport_hour_weather", {}),
        ("gold.carrier_month", {}),
        ("gold.routes", {}),
        ("silver.flights", {"expect_column_values_to_not_be_null(arrival_delay)": 41}),  # March's diverted flights
    ],
)
def test_a_month_of_real_data_keeps_to_the_suite(
    catalog: Catalog,
    reference_workspace: Workspace,
    in_order: dict[str, DataFrame],
    references: dict[str, DataFrame],
    table: str,
    known: dict[str, int],
) -> None:
    spec = catalog[table]
    assert spec.function and spec.suite
    sources = {f"silver.{k}": v for k, v in in_order.items()} | {f"reference.{k}": v for k, v in references.items()}
    rows = spec.function(**{parameter: sources[x.name] for parameter, x in spec.inputs.items()})
    counts = compile_gate(load(reference_workspace, spec.suite), rows.schema).warn_counts()
    (found,) = rows.agg(*counts).collect()
    assert {rule: count for rule, count in found.asDict().items() if count} == known
