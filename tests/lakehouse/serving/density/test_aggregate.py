"""The counts of all events so far are those of a count anew, in whatever pieces they came."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lakehouse.serving.density.aggregate import DAY, HOURS, ROWS, Aggregate, shade
from lakehouse.serving.density.events import Events
from lakehouse.serving.density.seen import Seen

START = 1_357_020_000_000_000.0  # 2013-01-01 06:00 UTC, in microseconds


def events_of(moments: Any, values: Any) -> Events:
    count = len(moments)
    topics = np.array(["t"] * count, dtype=object)
    return Events(
        np.asarray(moments, float), np.asarray(values, float), topics, np.arange(count) % 3, np.arange(count, dtype=np.int64) // 3
    )


def year(count: int, seed: int = 0) -> Events:
    """Events over a year, some without a value, some far beyond any axis."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.gamma(1.2, 20, count) - 12)
    values[rng.random(count) < 0.02] = np.nan
    values[rng.random(count) < 0.005] = 1_000
    return events_of(START + np.sort(rng.integers(0, 365 * int(DAY), count)), values)


def content(aggregate: Aggregate) -> Any:
    return (
        aggregate.events,
        aggregate.unknown,
        aggregate.since,
        aggregate.until,
        aggregate.value,
        {name: (view.start, view.end, view.counts, view.means, view.image) for name, view in aggregate.views().items()},
    )


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_pieces_that_come_twice_are_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = year(3_000, seed)
    whole, piecewise, seen = Aggregate("delay"), Aggregate("delay"), Seen()
    whole.add(events)
    order = np.concatenate([rng.permutation(len(events)), rng.permutation(len(events))[:1_000]])
    for piece in np.array_split(order, 40):
        delivered = events.only(piece)
        piecewise.add(delivered.only(seen.fresh(delivered)))
    assert content(piecewise) == content(whole)


def test_the_views_are_the_counts_of_numpy() -> None:
    events = year(20_000)
    aggregate = Aggregate("delay")
    for piece in np.array_split(np.arange(len(events)), 7):
        aggregate.add(events.only(piece))
    drawn = events.only(np.isfinite(events.values))
    assert aggregate.value is not None
    assert (aggregate.value.low, aggregate.value.high) == (-64, 192)
    assert aggregate.events == 20_000
    assert aggregate.unknown == len(events) - len(drawn)
    assert aggregate.beyond == np.count_nonzero((drawn.values < -64) | (drawn.values >= 192))
    moment, hour = aggregate.views()["moment"], aggregate.views()["hour"]
    edges = np.linspace(moment.start, moment.end, len(moment.counts) + 1)
    assert moment.counts == np.histogram(drawn.moments, edges)[0].tolist()
    assert 256 <= len(moment.counts) <= 512
    assert moment.start <= aggregate.since < aggregate.until < moment.end
    slots = (drawn.moments % DAY // (DAY / HOURS)).astype(int)
    assert hour.counts == np.bincount(slots, minlength=HOURS).tolist()
    assert hour.means == pytest.approx((np.bincount(slots, drawn.values, HOURS) / np.bincount(slots, minlength=HOURS)).tolist())


def test_an_axis_of_other_values_is_of_the_first_ones_and_grows_when_too_many_lie_beyond() -> None:
    aggregate = Aggregate("level")
    aggregate.add(events_of([START], [5.0]))
    assert aggregate.value is not None
    first = aggregate.value
    for n in range(40):
        aggregate.add(events_of(START + np.arange(25), np.arange(25) + 25 * n))
    assert aggregate.value.low <= first.low
    assert aggregate.value.high > 900
    assert aggregate.events == 1_001
    assert aggregate.beyond <= 0.02 * aggregate.events


def test_events_without_a_value_are_counted_apart() -> None:
    aggregate = Aggregate("delay")
    aggregate.add(events_of([START, np.nan, START, START], [np.nan, 5, np.inf, -np.inf]))
    assert (aggregate.events, aggregate.unknown, aggregate.views()) == (4, 4, {})
    aggregate.add(events_of([], []))
    aggregate.add(events_of([START], [5]))
    assert (aggregate.events, aggregate.unknown) == (5, 4)
    assert aggregate.views()["moment"].counts == [1]


def test_the_image_is_a_mask_with_the_lowest_values_at_the_bottom() -> None:
    cells = np.zeros((ROWS, 3), dtype=np.int64)
    cells[0, 0], cells[1, 1], cells[ROWS - 1, 2] = 1, 10, 1_000
    image = np.asarray(Image.open(io.BytesIO(shade(cells))).convert("RGBA"))
    opaque = image[:, :, 3]
    assert opaque.shape == (ROWS, 3)
    assert 0 < opaque[ROWS - 1, 0] < opaque[ROWS - 2, 1] < opaque[0, 2]
    assert np.count_nonzero(opaque) == 3
