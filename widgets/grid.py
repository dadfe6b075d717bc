"""A table that becomes cards on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from widgets.render import render
from widgets.states import State


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: Its heading.
        figures: Whether it holds figures, which are set to the right.
        hint: What it means, shown when pointed at.
    """

    title: str
    figures: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: What it says.
        note: More of it, in small print.
        state: A state, shown before the text.
        at: A moment, shown as ``8 s ago`` before the text.
        link: An address on this server.
    """

    text: str = ""
    note: str = ""
    state: State | None = None
    at: datetime | None = None
    link: str = ""


@dataclass(frozen=True)
class Row:
    """One row; the first cell names it.

    Attributes:
        cells: One for each column.
        alarm: A sentence below the row.
        group: Rows of one group stand together, below its name.
    """

    cells: Sequence[Cell]
    alarm: str = ""
    group: str = ""


def grid(columns: Sequence[Column], rows: Sequence[Row], empty: str = "Nothing yet.") -> str:
    """Return a table as HTML.

    Args:
        columns: Its columns.
        rows: Its rows, those of a group beside each other.
        empty: What to say when there are none.
    """
    return render("grid", columns=columns, rows=rows, empty=empty)
