"""An axis of bins that double in width when values lie beyond it, so that old counts stay exact."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """Bins of one width, a power of two; a bin's edges are multiples of it, so two bins are just one of the next width.

    Attributes:
        size: How many bins.
        exponent: A bin is ``2 ** exponent`` wide.
        first: The number of the first bin, counted from 0.
    """

    size: int
    exponent: int
    first: int

    @classmethod
    def around(cls, low: float, high: float, size: int) -> Axis:
        """Return an axis for values that lie mostly between two, with some room beside them."""
        span = (high - low) * 1.25 or max(abs(low), 1.0) / 8
        exponent = math.ceil(math.log2(span / size))
        step = 2.0**exponent
        return cls(size, exponent, math.floor((low + high) / 2 / step) - size // 2)

    @property
    def low(self) -> float:
        """Where the first bin begins."""
        return self.first * 2.0**self.exponent

    @property
    def high(self) -> float:
        """Where the last bin ends."""
        return (self.first + self.size) * 2.0**self.exponent

    def bins(self, values: Floats) -> Whole:
        """Return the bin of each value, 0 for the first one; below 0, or from ``size`` on, for what lies beyond the axis."""
        numbers = np.floor(values / 2.0**self.exponent) - self.first
        bins: Whole = np.clip(numbers, -1, self.size).astype(np.int64)
        return bins

    def covering(self, low: float, high: float, used: tuple[int, int] | None) -> Axis:
        """Return the axis, this one if it will do, that has room for more.

        Args:
            low: The least value.
            high: The greatest.
            used: First and last bin of this axis that must stay; ``None``: none.
        """
        exponent, step = self.exponent, 2.0**self.exponent
        begin, end = math.floor(low / step), math.floor(high / step)
        if used is not None:
            begin, end = min(begin, self.first + used[0]), max(end, self.first + used[1])
        if self.first <= begin and end < self.first + self.size:
            return self
        while end - begin >= self.size:
            exponent, begin, end = exponent + 1, begin >> 1, end >> 1
        return replace(self, exponent=exponent, first=begin)

    def moved(self, counts: NDArray[Any], target: Axis, dimension: int) -> NDArray[Any]:
        """Return counts by this axis's bins as counts by those of another one that covers it; sums stay what they were.

        Args:
            counts: An array that has ``size`` entries along the dimension.
            target: What :meth:`covering` returned.
            dimension: Which dimension of the array this axis is.
        """
        counts = np.moveaxis(counts, dimension, 0)
        there = ((self.first + np.arange(self.size)) >> (target.exponent - self.exponent)) - target.first
        moved = np.zeros((target.size, *counts.shape[1:]), counts.dtype)
        inside = (there >= 0) & (there < target.size)
        np.add.at(moved, there[inside], counts[inside])
        return np.moveaxis(moved, 0, dimension)
