"""``tidemill bench query``: the gateway asked for hot rows, by a thousand dashboards, and for TPC-H."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lakehouse.errors import UnknownNameError
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.settings import Settings
from lakehouse.stack.state import StackState
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

from .. import machine
from ..errors import BenchError
from ..process import Process, module, processor_seconds, until
from ..store import servers
from . import board, hot, people, tpch
from .asker import ASKERS

PARTS = ("hot", "gold", "tpch")
USERS = 1_000
QUICK_USERS = 30

_HERE = Path(__file__).parent
_IDLE_SECONDS = 15.0

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
        count: How many look at dashboards; a thousand when left out.
        only: Parts: ``hot``, ``gold``, ``tpch``; all when left out.
        rounds: How often each of TPC-H's queries is asked of each, beside two first times; the figure is the median.
        memory: Not used here.
        quick: A hundredth of TPC-H, thirty dashboards, a few seconds each.
        say: Told what is being done.

    Returns:
        ``name``, ``machine``, ``figures``, ``ratios``, and ``hot``, ``gold`` and ``tpch`` with everything that was measured.

    Raises:
        BenchError: Something ended, or somebody else than the gateway answered wrongly.
        UnknownNameError: There is no such part.
    """
    if unknown := set(only) - set(PARTS):
        raise UnknownNameError(f"No part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}.")
    chosen = [part for part in PARTS if part in (only or PARTS)]
    report: dict[str, Any] = {"name": "query", "machine": machine.describe(), "figures": {}, "ratios": {}}
    with servers(_HERE / "workspace", say) as workspace:
        managers = people.declare(workspace)
        Objects(Settings.load(workspace)).ensure_bucket()
        report["busy_before"] = machine.wait_until_quiet(0 if quick else _IDLE_SECONDS)
        if "hot" in chosen:
            report["hot"] = read_hot(workspace, 5 if quick else 30, say)
        if "gold" in chosen:
            users = count or (QUICK_USERS if quick else USERS)
            report["gold"] = look_at_boards(workspace, managers, users, 5 if quick else 60, say)
        if "tpch" in chosen:
            report["tpch"] = ask_tpch(workspace, 0.01 if quick else 1.0, (1 if quick else 2) + rounds, say)
    _sum_up(report)
    return report


@contextmanager
def gateway(workspace: Workspace, **environment: str) -> Iterator[Process]:
    """Run the gateway."""
    root = {"TIDEMILL_WORKSPACE": str(workspace.root)}
    log = workspace.state / "gateway.log"
    with Process(module("jobs", "run", "--lane", "gateway"), environment={**root, **environment}, log=log) as service:

        def ready() -> None:
            with urllib.request.urlopen(f"{Endpoint.of(workspace).url}/ready", timeout=5) as answer:
                answer.read()

        until(ready, service)
        yield service


def read_hot(workspace: Workspace, seconds: float, say: Say) -> dict[str, Any]:
    """Read points and windows of the live table, while rows come."""
    say("hot, filling the live table")
    log = workspace.state / "ticks.log"
    with gateway(workspace), Process(module("bench.query.ticks", str(workspace.root)), log=log) as writer:
        rows = writer.next("filled")["rows"]
        say(f"hot, reading for {seconds:g} s, of {rows:,} rows and more that come")
        kinds, p95 = hot.measure(workspace, seconds)
    return {"seconds": seconds, "rows": rows, "p95_ms": p95, "kinds": [asdict(kind) for kind in kinds]}


def look_at_boards(workspace: Workspace, managers: Sequence[str], users: int, seconds: float, say: Say) -> dict[str, Any]:
    """Have many look at dashboards, while commits arrive."""
    say("gold, writing a year of sales")
    settings = Settings.load(workspace)
    board.fill(settings)
    log = workspace.state / "crowd.log"
    with gateway(workspace) as service, Process(module("bench.query.crowd"), log=log) as crowd:
        crowd.tell(
            {
                "url": Endpoint.of(workspace).url,
                "tokens": [people.token(workspace, name) for name in managers],
                "users": users,
                "warm_up": min(10, seconds),
                "seconds": seconds,
            }
        )
        say(f"gold, {users:,} users come")
        with board.commits(settings) as commits:
            crowd.next("measuring")
            parts = _parts(workspace, service, crowd)
            began, before = len(commits), {part: processor_seconds(pid) for part, pid in parts.items()}
            say(f"gold, {users:,} users: measuring for {seconds:g} s")
            found = crowd.next("measured")
            cores = {part: round((processor_seconds(pid) - before[part]) / seconds, 2) for part, pid in parts.items()}
            arrived = len(commits) - began
    if not (found["cold"] or found["kept"]):
        raise BenchError(f"No dashboard was answered: {found['texts']}.")
    every = [*found["cold"], *found["kept"]]
    return {
        "users": found["users"],
        "views": len({tuple(people.shops(number)) for number in range(len(managers))}),
        "tenants": people.TENANTS,
        "seconds": seconds,
        "commits": arrived,
        "questions": len(every),
        "errors": found["errors"],
        "texts": found["texts"],
        "cached_share": round(len(found["kept"]) / len(every), 3),
        "all": _percentiles(every),
        "cold": _percentiles(found["cold"]),
        "cached": _percentiles(found["kept"]),
        "cores": cores,
    }


def ask_tpch(workspace: Workspace, scale: float, times: int, say: Say) -> dict[str, Any]:
    """Ask the 22 queries of the gateway, without its cache, and of what one would have instead."""
    say("tpch, making its tables")
    settings = Settings.load(workspace)
    tpch.generate(workspace, scale)
    say("tpch, writing them as Delta")
    tpch.load(workspace, settings)
    seconds: dict[str, dict[str, list[float]]] = {name: {query: [] for query in tpch.QUERIES} for name in ASKERS}
    rows: dict[str, dict[str, tpch.Rows]] = {}
    wrong: set[str] = set()
    with gateway(workspace, TIDEMILL_GATEWAY__CACHE_SECONDS="0", TIDEMILL_GATEWAY__HOLD_MB="0"):
        for together in (("gateway", "stream", "dataset", "local"), ("spark",)):  # Spark's driver would be in the others' way
            with asking(workspace, together, scale) as askers:
                for turn in range(times):
                    for name, asker in askers.items():
                        say(f"tpch, {name}: {turn + 1} of {times}")
                        asker.tell()
                        found = asker.next("answered")
                        rows[name] = found["rows"]
                        for query, took in found["seconds"].items():
                            seconds[name][query].append(round(took, 4))
                    wrong |= _wrong(rows, "gateway", 1e-9) if "gateway" in askers else set()
    for name, tolerance in (("stream", 1e-9), ("dataset", 1e-9), ("spark", 1e-4)):  # Spark's decimals have fewer digits
        if others := _wrong(rows, name, tolerance):
            raise BenchError(f"{name} is wrong: its answers to {', '.join(sorted(others))} differ from DuckDB's.")
    return {
        "scale": scale,
        "times": times,
        "wrong": sorted(wrong),
        "rows": {query: len(found) for query, found in rows["gateway"].items()},
        "first": {name: {query: took[0] for query, took in queries.items()} for name, queries in seconds.items()},
        "seconds": {name: {query: median(took) for query, took in queries.items()} for name, queries in seconds.items()},
    }


@contextmanager
def asking(workspace: Workspace, names: Sequence[str], scale: float) -> Iterator[dict[str, Process]]:
    """Start those that answer the 22 queries, one after the other."""
    started: dict[str, Process] = {}
    try:
        for name in names:
            command = module("bench.query.asker", name, str(workspace.root), str(scale))
            started[name] = Process(command, log=workspace.state / f"asker-{name}.log")
            started[name].next("ready")
        yield started
    finally:
        for process in started.values():
            process.__exit__()


def _wrong(rows: dict[str, dict[str, tpch.Rows]], name: str, tolerance: float) -> set[str]:
    """Return the queries to which somebody answers otherwise than DuckDB of files."""
    return {query for query, found in rows[name].items() if not tpch.same(found, rows["local"][query], tolerance)}


def _parts(workspace: Workspace, service: Process, crowd: Process) -> dict[str, int]:
    state = StackState.load(workspace)
    servers_of = {part: state.pids[part].pid for part in ("postgres", "valkey", "s3")}
    return {"gateway": service.pid, "clients": crowd.pid, **servers_of}


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    if not times:
        return {}
    return {f"p{x}_ms": round(float(np.percentile(times, x)), 1) for x in (50, 95, 99)}


def _sum_up(report: dict[str, Any]) -> None:
    """Add the figures and ratios of the parts that were measured."""
    figures, ratios = report["figures"], report["ratios"]
    errors = 0
    if "hot" in report:
        figures["hot_p95_ms"] = report["hot"]["p95_ms"]
        errors += sum(kind["errors"] for kind in report["hot"]["kinds"])
    if "gold" in report:
        gold = report["gold"]
        figures["gold_p95_ms_at_1000_users"] = gold["all"]["p95_ms"]
        figures["gold_cold_p95_ms"] = gold["cold"].get("p95_ms", 0.0)
        figures["gold_cached_share"] = gold["cached_share"]
        errors += gold["errors"]
    if "tpch" in report:
        took = report["tpch"]["seconds"]
        figures["tpch_sf1_slowest_s"] = round(max(took["gateway"].values()), 3)
        figures["tpch_wrong_answers"] = len(report["tpch"]["wrong"])
        ours = sum(took["gateway"].values())
        raw = sum(min(took["stream"][query], took["dataset"][query]) for query in tpch.QUERIES)
        ratios["governed_to_raw"] = round(ours / raw, 3)
        ratios["to_spark_sql"] = round(ours / sum(took["spark"].values()), 3)
    figures["errors"] = errors
