"""Axes that double, and the counts that move with them."""

from __future__ import annotations

import numpy as np
import pytest

from lakehouse.serving.density.axis import Axis


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 5), (1e6, 1e6), (0, 0), (-1e-9, 1e-9), (1e12, 3e12)])
def test_an_axis_around_values_has_room_beside_them(low: float, high: float) -> None:
    axis = Axis.around(low, high, 128)
    assert axis.low < low
    assert high < axis.high
    assert axis.high - axis.low < 4 * ((high - low) or max(abs(low), 1))


def test_what_lies_beyond_is_said() -> None:
    axis = Axis(8, 1, -2)
    assert (axis.low, axis.high) == (-4, 12)
    assert axis.bins(np.array([-1e300, -4.1, -4, -0.1, 0, 11.9, 12, 1e300])).tolist() == [-1, -1, 0, 1, 2, 7, 8, 8]


def test_one_that_will_do_stays() -> None:
    axis = Axis(8, 0, 0)
    assert axis.covering(0, 7.9, None) is axis
    assert axis.covering(3, 4, (0, 7)) is axis


@pytest.mark.parametrize("seed", range(20))
def test_counts_that_moved_are_those_of_a_count_anew(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axis, values = Axis(16, 0, int(rng.integers(-50, 50))), np.empty(0)
    counts = np.zeros((3, 16), dtype=np.int64)
    for _ in range(12):
        more = rng.normal(rng.integers(-100, 100), rng.integers(1, 40), 20)
        used = np.flatnonzero(counts.any(axis=0))
        grown = axis.covering(more.min(), more.max(), (int(used[0]), int(used[-1])) if len(used) else None)
        counts, axis, values = axis.moved(counts, grown, 1), grown, np.append(values, more)
        np.add.at(counts, (1, grown.bins(more)), 1)
    assert counts[1].tolist() == np.bincount(axis.bins(values), minlength=16).tolist()
    assert counts[0].sum() == counts[2].sum() == 0
