"""Rate and lag of each layer over the last minutes, from the ledger of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lakehouse.catalog import Catalog, Layer, TableSpec
from lakehouse.telemetry.lag import inputs_of, waiting_at
from lakehouse.telemetry.ledger import WINDOW_SECONDS, Batch, Ledger

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lakehouse.telemetry.status import Status

STEP_SECONDS = 10
STREAMED: tuple[Layer, ...] = ("bronze", "silver", "gold")
COLUMNS = ["at", "layer", "rows_per_second", "lag"]


def history(ledger: Ledger, status: Status, catalog: Catalog) -> pd.DataFrame:
    """Return how each layer fared, step by step, over the last quarter of an hour.

    Args:
        ledger: The batches.
        status: The status that was read with it: lags end at its figures.
        catalog: All tables.

    Returns:
        Columns ``at`` (UTC, without a zone), ``layer``, ``rows_per_second`` (read by all tables of the layer, over the step that
        ends at ``at``), ``lag`` (rows that wait for the table of the layer that has most waiting).
    """
    last = ledger.now.timestamp() // STEP_SECONDS * STEP_SECONDS
    edges = last - STEP_SECONDS * np.arange(WINDOW_SECONDS // STEP_SECONDS, -1.0, -1.0)
    by_table: dict[str, list[Batch]] = {spec.full_name: [] for spec in catalog}
    for batch in ledger.recent:
        by_table[batch.table].append(batch)
    parts = []
    for layer in STREAMED:
        specs = catalog.layer(layer)
        rate = np.sum([_rate(by_table[spec.full_name], edges) for spec in specs], axis=0) if specs else np.zeros(len(edges) - 1)
        lags = [_lag(spec, by_table, edges[1:], status, catalog) for spec in specs]
        parts.append(
            pd.DataFrame(
                {
                    "at": pd.to_datetime(edges[1:].astype("int64"), unit="s"),
                    "layer": layer,
                    "rows_per_second": rate,
                    "lag": np.max(lags, axis=0) if lags else 0.0,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _rate(batches: list[Batch], edges: NDArray[Any]) -> NDArray[Any]:
    """Spread the rows of each batch evenly over the time that it took."""
    if not batches:
        return np.zeros(len(edges) - 1)
    started = np.array([batch.started for batch in batches])[:, None]
    seconds = np.array([max(batch.duration_ms / 1000, 0.001) for batch in batches])[:, None]
    rows = np.array([batch.rows_read for batch in batches])[:, None]
    done = (np.clip((edges[None, :] - started) / seconds, 0, 1) * rows).sum(axis=0)
    rates: NDArray[Any] = np.diff(done) / STEP_SECONDS
    return rates


def _lag(
    spec: TableSpec, by_table: dict[str, list[Batch]], edges: NDArray[Any], status: Status, catalog: Catalog
) -> NDArray[Any]:
    own = by_table[spec.full_name]
    if spec.layer == "bronze":
        return np.array([_said(own, edge) for edge in edges])
    if spec.is_ingest:
        arrived = _written(by_table[f"bronze.{spec.feed}"], edges)
        judged = _written(own, edges, read=True)
        present = status.tables[spec.full_name].lag or 0
        anchored: NDArray[Any] = np.maximum(0, (arrived - judged) - (arrived - judged)[-1] + present)
        return anchored
    upstream = sorted((b for name in inputs_of(spec, catalog) for b in by_table[name]), key=lambda batch: batch.finished)
    return np.array([waiting_at(upstream, own, edge) for edge in edges])


def _said(batches: list[Batch], at: float) -> int:
    """Return what the last batch before a moment said it left behind."""
    before = [batch.lag or 0 for batch in batches if batch.finished <= at]
    return before[-1] if before else 0


def _written(batches: list[Batch], edges: NDArray[Any], *, read: bool = False) -> NDArray[Any]:
    finished = np.array([batch.finished for batch in batches])
    rows = np.cumsum([0, *(batch.rows_read if read else batch.rows_written for batch in batches)])
    total: NDArray[Any] = rows[np.searchsorted(finished, edges, side="right")] if batches else np.zeros(len(edges))
    return total
