"""How far each table is, and how fast it goes: cheap enough to be asked twice a second."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.catalog import Catalog, TableSpec
from lakehouse.control import Control
from lakehouse.errors import SourceError
from lakehouse.settings import Settings
from lakehouse.sources.kafka import end_offsets

_WINDOW_SECONDS = 15


@dataclass(frozen=True)
class TableProgress:
    """One table.

    Attributes:
        table: ``layer.name``.
        state: ``running``, ``paused``, ``stopped``, ``idle`` or ``done``.
        reason: Why it paused or stopped.
        rows: Rows that its batches wrote.
        rate: Rows read a second over the last quarter of a minute.
        lag: Rows of its input that it has not read yet; ``None`` where rows are merged, and none can be counted.
        seconds_left: ``lag`` at the present rate.
    """

    table: str
    state: str
    reason: str
    rows: int
    rate: float
    lag: int | None
    seconds_left: float | None


def read_progress(settings: Settings, catalog: Catalog, control: Control) -> list[TableProgress]:
    """Return the progress of each table that has a query, inputs first."""
    rows = control.run(
        'SELECT "table", sum(rows_read)::bigint AS read, sum(rows_written)::bigint AS written, '
        "coalesce(sum(rows_read) FILTER (WHERE finished_at > now() - %s * interval '1 second'), 0)::float8 / %s AS rate "
        'FROM tidemill.batch GROUP BY "table"',
        (_WINDOW_SECONDS, _WINDOW_SECONDS),
    )
    sums = {row["table"]: row for row in rows}
    states = control.states()
    found = []
    for spec in catalog:
        if spec.layer == "reference":
            continue
        row = sums.get(spec.full_name, {"read": 0, "written": 0, "rate": 0.0})
        state = states.get(spec.full_name, {"state": "idle", "reason": ""})
        lag = _lag(settings, spec, row["read"], sums)
        left = lag / row["rate"] if lag and row["rate"] else (0.0 if lag == 0 else None)
        found.append(TableProgress(spec.full_name, state["state"], state["reason"], row["written"], row["rate"], lag, left))
    return found


def _lag(settings: Settings, spec: TableSpec, read: int, sums: dict[str, dict[str, int]]) -> int | None:
    if spec.layer == "bronze":
        assert spec.source is not None
        try:
            ends = end_offsets(settings, spec.source.topic)
        except SourceError:
            return None
        return max(0, sum(ends.values()) - read)
    if spec.is_ingest:
        above = sums.get(f"bronze.{spec.feed}", {"read": 0})
        return max(0, above["read"] - read)
    return None
