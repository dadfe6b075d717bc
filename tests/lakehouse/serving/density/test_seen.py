"""Each record once, however often and in whatever order it comes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lakehouse.serving.density.events import Events
from lakehouse.serving.density.seen import Seen


def of(offsets: Sequence[int], topic: str = "t", partition: int = 0) -> Events:
    zeros = np.zeros(len(offsets))
    topics = np.array([topic] * len(offsets), dtype=object)
    return Events(zeros, zeros, topics, np.full(len(offsets), partition), np.array(offsets, dtype=np.int64))


@pytest.mark.parametrize("seed", range(10))
def test_shuffled_and_repeated_records_are_each_fresh_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen, fresh, gone = Seen(window=64), [], 0
    deliveries = [int(x) for n in range(300) for x in range(n, n + 3) if n % 7]  # offsets that are left out never come
    deliveries = [deliveries[i] for i in np.argsort(np.arange(len(deliveries)) + rng.integers(0, 30, len(deliveries)))]
    while gone < len(deliveries):
        part = deliveries[gone : gone + int(rng.integers(1, 40))]
        gone += len(part)
        fresh += [n for n, new in zip(part, seen.fresh(of(part)), strict=True) if new]
    assert sorted(fresh) == sorted(set(deliveries))


def test_partitions_and_topics_are_told_apart() -> None:
    seen = Seen()
    assert not seen
    assert [seen.fresh(of([3], *source)).tolist() for source in (("t", 0), ("t", 1), ("u", 0), ("t", 0))] == [
        [True],
        [True],
        [True],
        [False],
    ]
    assert seen


def test_what_is_older_than_the_window_was_seen() -> None:
    seen = Seen(window=8)
    assert seen.fresh(of([100, 3])).tolist() == [True, True]
    assert seen.fresh(of([92, 93, 3, 101, 99])).tolist() == [False, True, False, True, True]


def test_what_is_surely_new_counts_in_any_order_and_is_remembered() -> None:
    seen = Seen(window=8)
    assert seen.fresh(of([50]), distinct=True).all()
    assert seen.fresh(of([2, 49]), distinct=True).all()
    assert not seen.fresh(of([2, 49, 50])).any()
