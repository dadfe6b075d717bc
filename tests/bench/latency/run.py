"""``tidemill bench latency``: how old a row is when it arrives, in an open loop, beside a bare consumer, micro-batches and Flink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from lakehouse.errors import UnknownNameError
from lakehouse.settings import Settings

from .. import machine
from ..store import servers
from . import batch, hot
from .measure import points

CONTENDERS = ("tidemill", "kafka", "microbatch", "flink")
RATES: Mapping[str, Sequence[int]] = {
    "tidemill": (100, 1_000, 5_000, 10_000, 20_000),
    "kafka": (1_000, 10_000, 20_000, 60_000),
    "microbatch": (100, 1_000, 5_000, 10_000, 20_000),
    "flink": (1_000, 10_000, 20_000, 60_000),
}
QUICK: Mapping[str, Sequence[int]] = {
    "tidemill": (1_000, 10_000, 20_000),
    "kafka": (10_000, 60_000),
    "microbatch": (1_000,),
    "flink": (10_000,),
}
SECONDS, QUICK_SECONDS = 60.0, 10.0

_HERE = Path(__file__).parent
_WARM_SECONDS = 30.0
_IDLE_SECONDS = 60.0

Say = Callable[[str], None]


def run(
    *,
    count: int | None = None,
    only: Sequence[str] = (),
    rounds: int = 1,
    memory: bool = False,
    quick: bool = False,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Run the benchmark.

    Args:
        count: Events of the point of a thousand a second; the others last as long. 60,000, a minute, when left out.
        only: Names of contenders; all when left out. ``batch``, which takes an hour, has to be named: what the length of a
            batch costs.
        rounds: How often each contender runs, from its cold start; figures are medians.
        memory: Not used here.
        quick: Ten seconds a point, and only the points that have a figure.
        say: Told what is being done.

    Returns:
        ``name``, ``machine``, ``figures``, ``ratios``, and ``points`` and ``batches`` with everything that was measured.

    Raises:
        BenchError: A contender failed.
        UnknownNameError: There is no such contender.
    """
    if unknown := set(only) - {*CONTENDERS, "batch"}:
        raise UnknownNameError(f"No contender {', '.join(sorted(unknown))}; there are: {', '.join(CONTENDERS)}, batch.")
    names = [name for name in CONTENDERS if name in (only or CONTENDERS)]
    seconds = count / 1_000 if count else QUICK_SECONDS if quick else SECONDS
    warm = min(_WARM_SECONDS, 3 * seconds)
    found, costs = [], []
    with servers(_HERE / "workspace", say, {"postgres": hot.ClockedPostgres}) as workspace:
        flush = hot.flush_ms(Settings.load(workspace).require("postgres"))
        for _ in range(rounds):
            for name in names:
                say(f"waiting for a quiet machine before {name}")
                machine.wait_until_quiet(0 if quick else _IDLE_SECONDS)
                rates = (QUICK if quick else RATES)[name]
                found += [asdict(point) for point in points(workspace, name, rates, seconds, warm, say)]
        if "batch" in only:
            least = 0.0 if quick else batch.LEAST_SECONDS
            lengths = batch.QUICK if quick else batch.LENGTHS
            costs = [batch.costs(workspace, name, length, warm, least, say) for name, length in lengths.items()]
    figures, ratios = summary(found)
    return {
        "name": "latency",
        "machine": machine.describe(),
        "figures": figures,
        "ratios": ratios,
        "commit_flush_ms": round(flush, 3),
        "points": found,
        "batches": costs,
    }


def summary(found: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures and ratios that scripts read; those that were not measured are left out."""

    def of(contender: str | None, rate: int, where: str, what: str) -> float | None:
        values = [
            point["seen"][where]["milliseconds"][what]
            for point in found
            if contender in (None, point["contender"]) and point["rate"] == rate and where in point["seen"]
        ]
        return round(median(values), 3) if values else None

    hot_rates = [point["rate"] for point in found if "hot" in point["seen"]]
    sustained = [
        rate
        for rate in set(hot_rates)
        if all(point["seen"]["hot"]["sustained"] for point in found if "hot" in point["seen"] and point["rate"] == rate)
    ]
    figures = {
        "socket_p50_ms_at_1k": of("tidemill", 1_000, "socket", "p50"),
        "socket_p99_ms_at_10k": of("tidemill", 10_000, "socket", "p99"),
        "socket_p999_ms_at_10k": of("tidemill", 10_000, "socket", "p999"),
        "hot_p99_ms_at_10k": of("tidemill", 10_000, "hot", "p99"),
        "kafka_p99_ms_at_10k": of("kafka", 10_000, "kafka", "p99"),
        "kafka_p99_ms_at_60k": of("kafka", 60_000, "kafka", "p99"),
        "floor_p50_ms_at_1k": of("tidemill", 1_000, "floor", "p50"),
        "microbatch_p99_ms_at_1k": of("microbatch", 1_000, "kafka", "p99"),
        "flink_p99_ms_at_10k": of("flink", 10_000, "kafka", "p99"),
        "hot_sustained_events_per_s": float(max(sustained, default=0)) if hot_rates else None,
    }
    ratios = {
        "p50_to_floor": _ratio(figures["socket_p50_ms_at_1k"], figures["floor_p50_ms_at_1k"]),
        "p99_to_flink": _ratio(figures["kafka_p99_ms_at_10k"], figures["flink_p99_ms_at_10k"]),
    }
    return {k: v for k, v in figures.items() if v is not None}, {k: v for k, v in ratios.items() if v is not None}


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if ours is not None and theirs else None
