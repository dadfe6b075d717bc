"""Ages in buckets that grow: half a percent wide, so that each row counts and none is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PER_E = 200  # buckets for each factor e
_BUCKETS = 21 * _PER_E  # up to twenty minutes in microseconds


class Ages:
    """How old rows were, in microseconds.

    Args:
        counts: Rows of each bucket; none when left out.
    """

    def __init__(self, counts: Sequence[int] = ()) -> None:
        self._counts = np.array(counts, np.int64) if len(counts) else np.zeros(_BUCKETS, np.int64)

    def __add__(self, other: Ages) -> Ages:
        return Ages((self._counts + other._counts).tolist())

    @property
    def counts(self) -> list[int]:
        """Rows of each bucket."""
        return [int(count) for count in self._counts]

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self._counts.sum())

    def add(self, ages: Sequence[int]) -> None:
        """Count ages; what is younger than a microsecond, as two clocks may have it, is a microsecond old."""
        if ages:
            buckets = (np.log(np.maximum(np.array(ages, np.float64), 1.0)) * _PER_E).astype(np.int64)
            self._counts += np.bincount(np.minimum(buckets, _BUCKETS - 1), minlength=_BUCKETS)

    def percentile_ms(self, percent: float) -> float:
        """Return the age in milliseconds that so many percent of the rows do not pass; 0 when there are none."""
        if not self.rows:
            return 0.0
        bucket = int(np.searchsorted(np.cumsum(self._counts), self.rows * percent / 100))
        return float(np.exp((bucket + 1) / _PER_E) / 1e3)
