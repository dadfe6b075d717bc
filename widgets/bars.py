"""Counts by name, as bars: the most frequent first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from widgets.render import render


@dataclass(frozen=True)
class Bar:
    """One count.

    Attributes:
        label: What is counted.
        count: How many.
        note: Where, for instance.
    """

    label: str
    count: int
    note: str = ""


def bars(counts: Sequence[Bar], empty: str, key: str = "", most: int = 8) -> str:
    """Return the bars as HTML.

    Args:
        counts: What to show.
        empty: What to say when there are none.
        key: ``dead`` for the colour of dead letters.
        most: How many bars; how many more there are is said below.
    """
    ordered = sorted(counts, key=lambda bar: (-bar.count, bar.label))
    longest = ordered[0].count if ordered else 1
    return render("bars", bars=ordered[:most], more=len(ordered) - most, longest=longest or 1, empty=empty, key=key)
