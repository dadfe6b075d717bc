"""How old rows are at each hop of the fast lane, over the last minute: measured all the time, by whoever has them in hand.

When a record was sent is what :func:`lakehouse.sources.live.sent_us` says. The gate's moment is the timestamp that Spark's producer
gives the row in ``<feed>.live``. Each writer of the figures keeps HdrHistograms (http://hdrhistogram.org) and puts them into Valkey,
from where readers merge them. All moments are of the machines' own clocks.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Literal, cast, get_args

import orjson
import valkey
from hdrh.histogram import HdrHistogram
from pydantic import BaseModel, ConfigDict

Hop = Literal["producer_to_gate", "gate_to_hot", "gate_to_socket", "producer_to_hot", "producer_to_socket"]
HOPS: tuple[Hop, ...] = get_args(Hop)

_SLICES, _SLICE_SECONDS = 12, 5
_HIGHEST = 3_600_000_000  # microseconds; what is older counts as an hour
_STEP = 100  # microseconds; finer is not worth its cost, and Spark's stamp is one of milliseconds
_QUIET_SECONDS = 60


class HopLatency(BaseModel):
    """How old rows were at the end of one hop, over the last minute.

    Attributes:
        rows: How many rows, or frames of rows, were looked at.
        p50_ms: Half of them were not older, in milliseconds.
        p95_ms: 95 % of them were not older.
        p99_ms: 99 % of them were not older.
        max_ms: None of them was older.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


Hops = dict[Hop, HopLatency]


class Stopwatch:
    """The histograms of one writer for one feed.

    Args:
        client: Where others find them.
        feed: Name of the feed.
        role: What the writer is: ``hot`` or ``push``.
    """

    def __init__(self, client: valkey.Valkey, feed: str, role: str) -> None:
        self._client = client
        self._key = f"{_prefix(feed)}{role}:{socket.gethostname()}:{os.getpid()}"
        self._slices: deque[tuple[int, dict[Hop, HdrHistogram]]] = deque(maxlen=_SLICES)
        self._told_at = 0.0
        self._lock = threading.Lock()

    def record(self, hop: Hop, since_us: Iterable[int], now_us: int) -> None:
        """Count rows that came to the end of a hop now.

        Args:
            hop: The hop.
            since_us: When each one began it, microseconds since 1970.
            now_us: The moment.
        """
        ages = Counter((now_us - since) // _STEP for since in since_us)
        if not ages:
            return
        number = int(time.monotonic()) // _SLICE_SECONDS
        with self._lock:
            if not self._slices or self._slices[-1][0] != number:
                self._slices.append((number, {}))
            histogram = self._slices[-1][1].setdefault(hop, _new())
            for age, count in ages.items():
                histogram.record_value(min(max(1, age * _STEP), _HIGHEST), count)

    def publish(self) -> None:
        """Show the last minute to others; does nothing when that was done within the last second.

        Raises:
            valkey.ValkeyError: Valkey is away.
        """
        if time.monotonic() - self._told_at < 1 or not self._slices:
            return
        self._told_at = time.monotonic()
        oldest = int(self._told_at) // _SLICE_SECONDS - _SLICES
        merged: dict[Hop, HdrHistogram] = {}
        with self._lock:
            for number, histograms in self._slices:
                if number > oldest:
                    for hop, histogram in histograms.items():
                        merged.setdefault(hop, _new()).add(histogram)
        shown = {hop: histogram.encode().decode() for hop, histogram in merged.items()}
        self._client.set(self._key, orjson.dumps(shown), ex=_QUIET_SECONDS)


def latencies(client: valkey.Valkey, feed: str) -> Hops:
    """Return the last minute of each hop that rows went, of all writers.

    Raises:
        valkey.ValkeyError: Valkey is away.
    """
    keys = list(client.scan_iter(match=f"{_prefix(feed)}*", count=1_000))
    merged: dict[Hop, HdrHistogram] = {}
    for value in cast("list[bytes | None]", client.mget(keys)) if keys else ():
        for hop, encoded in _decoded(value):
            merged.setdefault(hop, _new()).add(HdrHistogram.decode(encoded))
    return {hop: _quantiles(merged[hop]) for hop in HOPS if hop in merged}


def _decoded(value: bytes | None) -> Iterator[tuple[Hop, str]]:
    """Yield what a writer showed; another version's hops are left out."""
    for hop, encoded in orjson.loads(value or b"{}").items():
        if hop in HOPS:
            yield hop, encoded


def _quantiles(histogram: HdrHistogram) -> HopLatency:
    p50, p95, p99 = (round(histogram.get_value_at_percentile(q) / 1000, 1) for q in (50, 95, 99))
    return HopLatency(
        rows=histogram.get_total_count(),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=round(histogram.get_max_value() / 1000, 1),
    )


def _new() -> HdrHistogram:
    return HdrHistogram(1, _HIGHEST, 2)


def _prefix(feed: str) -> str:
    return f"tidemill:{{{feed}}}:latency:"
