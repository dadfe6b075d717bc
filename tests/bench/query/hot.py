"""Points and windows of the live table, read through the gateway while rows come."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import numpy as np

from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.workspace import Workspace

from .people import token
from .ticks import KEYS

POINT = 'SELECT id, price, venue, account, "at" FROM live.ticks WHERE id = $id ORDER BY sent_us DESC LIMIT 1'
WINDOW = """
SELECT venue, count(*) AS ticks, avg(price) AS price, max(price) AS highest FROM live.ticks
WHERE _timestamp >= $since AND _timestamp < $until GROUP BY venue ORDER BY venue
"""
KINDS = ("point", "window")
SPAN_SECONDS = 10

_WARM_UP = 20


@dataclass(frozen=True)
class Hot:
    """How long one kind of read took, one after the other.

    Attributes:
        kind: ``point``: the last row of a key; ``window``: an aggregate of ten seconds, ten thousand rows.
        reads: How many were answered.
        p50_ms, p95_ms, p99_ms: From the request to the whole answer.
        errors: How many were not answered, or empty where there are rows.
    """

    kind: str
    reads: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int


def measure(workspace: Workspace, seconds: float) -> tuple[list[Hot], float]:
    """Read by turns for a while; returns how long it took by kind, and the p95 of all together in milliseconds."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    errors = dict.fromkeys(KINDS, 0)
    headers = {"Authorization": f"Bearer {token(workspace, 'watcher')}"}
    with httpx.Client(base_url=Endpoint.of(workspace).url, headers=headers, timeout=60) as client:
        for number in range(_WARM_UP):
            _read(client, KINDS[number % 2])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind in KINDS:
                began = time.perf_counter()
                is_right = _read(client, kind)
                took = 1_000 * (time.perf_counter() - began)
                found[kind].append(took)
                errors[kind] += not is_right
    kinds = [Hot(kind, len(found[kind]), *_percentiles(found[kind]), errors[kind]) for kind in KINDS]
    return kinds, _percentiles([x for times in found.values() for x in times])[1]


def _read(client: httpx.Client, kind: str) -> bool:
    if kind == "point":
        shown = random.randrange(KEYS // 100) * 100 + random.randrange(50)  # of the shards that the watcher sees
        body: dict[str, Any] = {"sql": POINT, "parameters": {"id": f"k{shown}"}}
    else:
        until = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=random.randrange(5, 200))
        since = until - timedelta(seconds=SPAN_SECONDS)
        body = {"sql": WINDOW, "parameters": {"since": f"{since:%Y-%m-%d %H:%M:%S}", "until": f"{until:%Y-%m-%d %H:%M:%S}"}}
    answer = client.post("/sql", json=body)
    return answer.is_success and bool(answer.json()["rows"])


def _percentiles(times: list[float]) -> tuple[float, float, float]:
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    return round(float(p50), 1), round(float(p95), 1), round(float(p99), 1)
