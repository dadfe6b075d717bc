"""What the picture of all events costs: ``python tests/bench/density.py``, from the root of the checkout.

A batch that comes while many events are counted already: added to the grid, counted with all the others anew, and with numpy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from lakehouse.serving.density.aggregate import DAY, Aggregate
from lakehouse.serving.density.events import Columns, Events, of_rows
from lakehouse.serving.density.seen import Seen

BEFORE = 2_000_000
BATCHES = (10, 1_000, 100_000)
ROUNDS = 7


def events(first: int, count: int) -> Events:
    """Return events of a year: delays with a long tail, of two partitions."""
    rng = np.random.default_rng(first)
    moments = 1_357_000_000_000_000.0 + np.floor(rng.random(count) * 365 * DAY)
    numbers = np.arange(first, first + count, dtype=np.int64)
    topics = np.array(["topic"] * count, dtype=object)
    return Events(moments, np.round(rng.gamma(1.2, 20, count) - 12), topics, numbers % 2, numbers // 2)


def median(work: Callable[[], object]) -> float:
    """Return how long something takes, seconds."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return float(np.median(found))


def main() -> None:
    """Measure, and print."""
    began = time.perf_counter()
    Aggregate("delay").add(events(0, 10))
    print(f"first aggregate, compiling: {time.perf_counter() - began:.1f} s")
    before, grid = events(0, BEFORE), Aggregate("delay")
    print(f"{BEFORE:,} events in one piece: {BEFORE / median(lambda: Aggregate('delay').add(before)):,.0f} events/s")
    grid.add(before)
    edges = np.linspace(before.moments.min(), before.moments.max(), 513), np.linspace(-64, 192, 129)
    for count in BATCHES:
        batch = events(BEFORE, count)
        whole = np.concatenate([before.moments, batch.moments]), np.concatenate([before.values, batch.values])
        everything = Events(*whole, np.empty(len(whole[0]), object), whole[0].astype(np.int64), whole[0].astype(np.int64))
        added = median(lambda batch=batch: grid.add(batch))  # type: ignore[misc]
        anew = median(lambda everything=everything: Aggregate("delay").add(everything))  # type: ignore[misc]
        numpy = median(lambda whole=whole: np.histogram2d(*whole, bins=edges))  # type: ignore[misc]
        print(
            f"{count:>7,} more: {1000 * added:.1f} ms added ({count / added:,.0f}/s), {anew / added:,.0f} times that anew, "
            f"{numpy / added:,.0f} times that by numpy.histogram2d of one view"
        )
    grid.views()
    print(
        f"both views drawn: {1000 * median(grid.views):.0f} ms, {sum(len(x.image) for x in grid.views().values()) / 1024:.0f} KiB"
    )
    origin = {"_topic_id": "topic", "_partition": 0, "event": "departed", "carrier": "UA", "dest": "SFO"}
    rows = [{"event_time": "2013-01-01T05:00:00.000Z", "delay": n % 90, "_offset": n, **origin} for n in range(10_000)]
    whole_way = median(lambda: grid.add((seen := of_rows(rows, Columns("event_time", "delay"))).only(Seen().fresh(seen))))
    print(f"pushed rows, from JSON objects to the grid: {len(rows) / whole_way:,.0f} rows/s")


if __name__ == "__main__":
    main()
