"""From what was seen to what is said: percentiles over every event that was meant to be sent, and whether a backlog grew."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}

_BUCKETS = np.geomspace(0.1, 100_000, 121)  # milliseconds, twenty a decade
_EVERY_US = 500_000
_GROWTH_S = 0.25


@dataclass(frozen=True)
class Ages:
    """How old rows were when somebody saw them.

    Attributes:
        rows: How many were meant to be seen.
        missing: How many were not seen in time; in the percentiles they are as old as they were at the end, at least.
        repeated: How often a row was seen again; its first time counts.
        sustained: Whether all came, and no backlog grew.
        growth_s: By how much the backlog grew from the second to the last quarter of the load, seconds of load.
        milliseconds: ``p50``, ``p95``, ``p99``, ``p999``, ``most``.
        histogram: Upper bound of a bucket in milliseconds → rows; empty ones left out.
    """

    rows: int
    missing: int
    repeated: int
    sustained: bool
    growth_s: float
    milliseconds: dict[str, float]
    histogram: dict[str, int] = field(repr=False)


def ages(sent_us: NDArray[np.int64], seen: NDArray[np.int64], stopped_us: int) -> Ages:
    """Work out the ages of a load's rows.

    Args:
        sent_us: When each row was meant to be sent; sorted, all different.
        seen: Two columns: that moment, and when the row was seen. Rows of other loads are left out.
        stopped_us: When nobody looked any more.
    """
    seen = seen[np.lexsort((seen[:, 1], seen[:, 0]))]
    first = np.unique(seen[:, 0], return_index=True)[1]
    repeated = len(seen) - len(first)
    seen = seen[first]
    seen = seen[np.isin(seen[:, 0], sent_us, assume_unique=True)]
    missing = sent_us[~np.isin(sent_us, seen[:, 0], assume_unique=True)]
    found = np.concatenate([seen[:, 1] - seen[:, 0], np.maximum(stopped_us - missing, 0)]) / 1_000
    growth = backlog_growth(sent_us, np.sort(seen[:, 1]))
    milliseconds = {name: round(float(np.percentile(found, at)), 3) for name, at in PERCENTILES.items()}
    counts = np.bincount(np.searchsorted(_BUCKETS, found), minlength=len(_BUCKETS) + 1)
    bounds = [*[f"{bound:.3g}" for bound in _BUCKETS], "inf"]
    return Ages(
        rows=len(sent_us),
        missing=len(missing),
        repeated=repeated,
        sustained=bool(len(missing) == 0 and growth <= _GROWTH_S),
        growth_s=round(growth, 3),
        milliseconds={**milliseconds, "most": round(float(found.max()), 3)},
        histogram={bound: int(count) for bound, count in zip(bounds, counts, strict=True) if count},
    )


def backlog_growth(sent_us: NDArray[np.int64], seen_us: NDArray[np.int64]) -> float:
    """Return by how much the backlog grew from the second to the last quarter of a load, in seconds of load.

    Medians, so that a pause that is caught up with is no growth.

    Args:
        sent_us: When each row was meant to be sent, sorted.
        seen_us: When rows were seen, sorted.
    """
    start, stop = int(sent_us[0]), int(sent_us[-1])
    moments = np.arange(start, stop + 1, min(_EVERY_US, max(1, (stop - start) // 40)))
    backlog = np.searchsorted(sent_us, moments, "right") - np.searchsorted(seen_us, moments, "right")
    quarter = max(1, len(moments) // 4)
    rate = len(sent_us) / max((stop - start) / 1e6, 1e-6)
    return float(np.median(backlog[-quarter:]) - np.median(backlog[quarter : 2 * quarter])) / rate
