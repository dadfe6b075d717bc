"""How many rows wait for a derived table, from what the ledger says of its inputs' batches and its own."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.catalog import Catalog, TableSpec
from lakehouse.telemetry.ledger import LATE_SECONDS, SLACK_SECONDS, Batch, Ledger


def rows_waiting(spec: TableSpec, ledger: Ledger, *, running: bool) -> int:
    """Return the rows that a derived table's inputs wrote, and it has not read.

    Args:
        spec: The derived table.
        ledger: What was recorded.
        running: Whether its query runs. Then rows that wait for minutes changed nothing that it looks at (an update to the
            same values), and it will never read them; otherwise they do wait for it.
    """
    waiting = ledger.waiting.get(spec.full_name)
    if waiting is None:
        return 0
    return waiting.late if running and spec.full_name in ledger.last else waiting.all


def inputs_of(spec: TableSpec, catalog: Catalog) -> list[str]:
    """Return the tables whose changes a derived table's query reads: its inputs but for reference data."""
    return [source.name for source in spec.inputs.values() if catalog[source.name].layer != "reference"]


def waiting_at(upstream: Sequence[Batch], own: Sequence[Batch], at: float) -> int:
    """Return the rows of upstream batches that no own batch had read at a moment, among the recent ones."""
    began = max((batch.started for batch in own if batch.finished <= at), default=None)
    since = 0.0 if began is None else max(began + SLACK_SECONDS, at - LATE_SECONDS)
    return sum(batch.rows_written for batch in upstream if since < batch.finished <= at)
