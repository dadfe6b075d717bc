"""The counts behind the picture: events by moment and value, and by hour of the day and value, with Datashader.

Importing this takes seconds (numba), and the first aggregate some more: it is imported where it is needed, in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import datashader as ds
import numpy as np
import pandas as pd
from datashader import transfer_functions as tf

from lakehouse.serving.density.axis import Axis, Floats, Whole
from lakehouse.serving.density.events import PREFERRED, Events

ROWS = 128
MOMENTS = 512
HOURS = 288  # five minutes each
DAY = 86_400_000_000.0  # microseconds

_SECOND = 20  # 2 ** 20 microseconds
_DELAY = Axis(ROWS, 1, -32)  # from 64 minutes early to 192 late, two minutes each
_MOST_BEYOND = 0.02  # share of the events that may lie beyond the axis before it grows


@dataclass(frozen=True)
class View:
    """One picture.

    Attributes:
        image: A PNG that is black, and the more opaque the more events there are: a mask to colour.
        start: Where it begins, microseconds since 1970 or since midnight.
        end: Where it ends.
        counts: Events of each column of it.
        means: Mean value of each column; ``None`` where there is no event.
    """

    image: bytes
    start: float
    end: float
    counts: list[int]
    means: list[float | None]


class Grid:
    """Counts of events, and the sum of their values, by column and row.

    Args:
        width: How many columns.
    """

    def __init__(self, width: int) -> None:
        self.counts: Whole = np.zeros((ROWS, width), dtype=np.int64)
        self.sums: Floats = np.zeros(width)

    def add(self, columns: Whole, rows: Whole, values: Floats) -> None:
        """Count some more; columns and rows are those of the grid."""
        # In the middles of the cells, so that no rounding of Datashader's moves an event to the next one.
        points = pd.DataFrame({"x": columns + 0.5, "y": rows + 0.5, "value": values})
        found = _canvas(self.counts.shape[1]).points(points, "x", "y", ds.summary(count=ds.count(), sum=ds.sum("value")))
        self.counts += found["count"].data.astype(np.int64)
        self.sums += np.nansum(found["sum"].data, axis=0)

    def view(self, first: int, last: int, start: float, end: float) -> View:
        """Return the picture of some columns.

        Args:
            first: The first column.
            last: The last one.
            start: Where the first one begins.
            end: Where the last one ends.
        """
        cells, sums = self.counts[:, first : last + 1], self.sums[first : last + 1]
        counts = cells.sum(axis=0)
        means = [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
        return View(shade(cells), start, end, counts.tolist(), means)


class Aggregate:
    """All events so far; its size does not depend on how many there are.

    Attributes:
        value: Axis of the values; ``None`` before the first one.
        events: How many events there are.
        unknown: Those without a moment or a value, which are not drawn.
        beyond: Those beyond the axis when they came, which are drawn at its edge.
        since: The first moment, microseconds since 1970.
        until: The last one.
    """

    def __init__(self, column: str) -> None:
        """Begin with none.

        Args:
            column: Name of the value; minutes of delay have an axis of their own, others one of their first values.
        """
        self.value: Axis | None = _DELAY if column == PREFERRED else None
        self.events = self.unknown = self.beyond = 0
        self.since, self.until = np.inf, -np.inf
        self._moment: Axis | None = None
        self._by_moment = Grid(MOMENTS)
        self._by_hour = Grid(HOURS)

    def add(self, events: Events) -> None:
        """Count some more, each of them new."""
        good = np.isfinite(events.moments) & np.isfinite(events.values)
        moments, values = events.moments[good], events.values[good]
        self.events += len(events)
        self.unknown += len(events) - len(values)
        if not len(values):
            return
        self.since, self.until = min(self.since, float(moments.min())), max(self.until, float(moments.max()))
        columns = self._columns(moments)
        rows = self._rows(values)
        self._by_moment.add(columns, rows, values)
        self._by_hour.add((moments % DAY // (DAY / HOURS)).astype(np.int64), rows, values)

    def views(self) -> dict[str, View]:
        """Return the pictures: by ``moment``, and by ``hour`` of the day; none before the first event."""
        used = self._used()
        if self._moment is None or used is None:
            return {}
        step, (first, last) = 2.0**self._moment.exponent, used
        start = self._moment.low + first * step
        return {
            "moment": self._by_moment.view(first, last, start, start + (last + 1 - first) * step),
            "hour": self._by_hour.view(0, HOURS - 1, 0.0, DAY),
        }

    def _columns(self, moments: Floats) -> Whole:
        """Return the column of each moment, on an axis that has all of them."""
        low, high = float(moments.min()), float(moments.max())
        if self._moment is None:
            self._moment = Axis(MOMENTS, _SECOND, int(low // 2**_SECOND))
        grown = self._moment.covering(low, high, self._used())
        if grown is not self._moment:
            self._by_moment.counts = self._moment.moved(self._by_moment.counts, grown, 1)
            self._by_moment.sums = self._moment.moved(self._by_moment.sums, grown, 0)
            self._moment = grown
        return self._moment.bins(moments)

    def _rows(self, values: Floats) -> Whole:
        """Return the row of each value, the outermost for those beyond; when these are too many, the axis grows."""
        low, high = (float(x) for x in np.quantile(values, [0.01, 0.99]))
        if self.value is None:
            self.value = Axis.around(low, high, ROWS)
        rows = self.value.bins(values)
        beyond = int(np.count_nonzero((rows < 0) | (rows >= ROWS)))
        if self.beyond + beyond > _MOST_BEYOND * (self.events - self.unknown):
            grown = self.value.covering(low, high, (0, ROWS - 1))
            for grid in (self._by_moment, self._by_hour):
                grid.counts = self.value.moved(grid.counts, grown, 0)
            self.value, rows = grown, grown.bins(values)
            beyond = int(np.count_nonzero((rows < 0) | (rows >= ROWS)))
        self.beyond += beyond
        return np.clip(rows, 0, ROWS - 1)

    def _used(self) -> tuple[int, int] | None:
        """Return the first and the last column that has an event."""
        used = np.flatnonzero(self._by_moment.counts.any(axis=0))
        return (int(used[0]), int(used[-1])) if len(used) else None


def shade(cells: Whole) -> bytes:
    """Return counts as a PNG whose opacity is their rank among the counts (``eq_hist``), row 0 at the bottom."""
    blank = _canvas(cells.shape[1]).points(pd.DataFrame({"x": [], "y": []}, dtype=float), "x", "y", ds.count())
    image = tf.shade(blank.copy(data=cells.astype(np.uint32)), cmap="#000000", how="eq_hist", min_alpha=70)
    png: bytes = image.to_bytesio("png").getvalue()
    return png


def _canvas(width: int) -> Any:
    return ds.Canvas(plot_width=width, plot_height=ROWS, x_range=(0, width), y_range=(0, ROWS))
