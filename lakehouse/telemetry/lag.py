"""How many rows wait for a derived table, from what the ledger says of its inputs' batches and its own."""

from __future__ import annotations

from lakehouse.catalog import Catalog, TableSpec
from lakehouse.telemetry.ledger import Batch, Ledger

# A batch is recorded some time after its commit, so one that was recorded this soon after its reader began may have been read.
_SLACK_SECONDS = 3.0
# Rows that wait for longer changed nothing that the reader looks at (an update to the same values): it will never read them.
_OLDEST_SECONDS = 300.0


def rows_waiting(spec: TableSpec, catalog: Catalog, ledger: Ledger, at: float | None = None) -> int:
    """Return the rows that a derived table's inputs wrote and it had not read at a moment.

    Args:
        spec: The derived table.
        catalog: All tables.
        ledger: What was recorded.
        at: The moment, in seconds since 1970; now when left out.
    """
    at = ledger.now.timestamp() if at is None else at
    inputs = inputs_of(spec, catalog)
    return waiting_at(
        [batch for batch in ledger.recent if batch.table in inputs],
        [batch for batch in ledger.recent if batch.table == spec.full_name],
        at,
    )


def inputs_of(spec: TableSpec, catalog: Catalog) -> set[str]:
    """Return the tables whose changes a table's query reads: its inputs but for reference data."""
    return {source.name for source in spec.inputs.values() if catalog[source.name].layer != "reference"}


def waiting_at(upstream: list[Batch], own: list[Batch], at: float) -> int:
    """Return the rows of upstream batches that no own batch had read at a moment; both are in order of their end."""
    began = max((batch.started for batch in own if batch.finished <= at), default=0.0)
    since = max(began + _SLACK_SECONDS if began else 0.0, at - _OLDEST_SECONDS)
    return sum(batch.rows_written for batch in upstream if since < batch.finished <= at)
