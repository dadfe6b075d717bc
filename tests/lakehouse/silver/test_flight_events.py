from __future__ import annotations

import pytest

from lakehouse.catalog import Catalog
from lakehouse.quality import load
from lakehouse.workspace import Workspace


@pytest.mark.parametrize(("table", "keys"), [("flight_events", ["flight_id", "event"]), ("weather", ["origin", "observed_at"])])
def test_keys_and_event_time_cannot_be_null(
    catalog: Catalog, reference_workspace: Workspace, table: str, keys: list[str]
) -> None:
    spec = catalog[f"silver.{table}"]
    assert spec.keys == tuple(keys)
    assert spec.suite and spec.event_time
    rules = load(reference_workspace, spec.suite).rules
    dropped = {x.columns[0] for x in rules if x.type == "expect_column_values_to_not_be_null" and x.action == "drop"}
    assert {*keys, spec.event_time} <= dropped
