"""What the page shows: reads through the serving layer, and nothing else."""

from __future__ import annotations

from lakehouse.serving.operations import Snapshot
from widgets.format import number
from widgets.grid import Cell, Column, Row

COLUMNS = (Column("Table"), Column("Rows", figures=True))


def rows(snapshot: Snapshot) -> list[Row]:
    """Return the gold tables with their rows, the largest first."""
    gold = {name: table.rows or 0 for name, table in snapshot.status.tables.items() if table.layer == "gold"}
    ordered = sorted(gold.items(), key=lambda item: (-item[1], item[0]))
    return [Row([Cell(name), Cell(number(count))]) for name, count in ordered]
