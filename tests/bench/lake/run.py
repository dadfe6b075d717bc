"""``tidemill bench lake``: Kafka → bronze, silver and gold, by Tidemill and by what one would write instead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from lakehouse.catalog import Kafka
from lakehouse.errors import UnknownNameError
from lakehouse.session import cores
from lakehouse.settings import Settings
from lakehouse.sources.replay import ReplayResult, publish
from lakehouse.workspace import Workspace

from .. import machine
from ..process import Measured, module
from ..store import Bucket, servers
from .check import check
from .contenders.tidemill import SMALL_BATCH, SMALL_COMMITS
from .generate import events, expected

CONTENDERS = ("tidemill", "plain_spark", "tuned_spark", "python_deltars")
EVENTS = 4_000_000
QUICK_EVENTS = 20_000
SHORT = {"a": "tidemill", "b": "plain_spark", "b2": "tuned_spark", "c": "python_deltars"}

_HERE = Path(__file__).parent
_IDLE_SECONDS = 60.0
_SERIOUS = 100_000  # with fewer events nothing is measured but the start, so a busy machine does not matter
_SETTLE_SECONDS = 1.0  # a request is counted when it has ended

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One run of one contender.

    Attributes:
        contender: Which one.
        events: How many events were in the topic.
        seconds: From the session's being ready to the last commit.
        startup_seconds: From the process's start to its session's being ready; not in ``seconds``.
        stages: Seconds of each layer.
        peak_memory_mib: Largest resident memory of the process and its children, the JVM among them.
        memory_by_program: The parts of it.
        cpu_seconds: Processor time of the same processes, start included; without the servers.
        files: Objects left in the bucket: data, logs, checkpoints.
        bytes: Their size.
        requests: Requests that the object store answered for this bucket, by kind, counted by the store.
        busy_before: How busy the machine was before the start, in percent of all cores.
        small_commits: Milliseconds of each small commit to the warm lane; Tidemill only.
    """

    contender: str
    events: int
    seconds: float
    startup_seconds: float
    stages: dict[str, float]
    peak_memory_mib: float
    memory_by_program: dict[str, float]
    cpu_seconds: float
    files: int
    bytes: int
    requests: dict[str, int]
    busy_before: float
    small_commits: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events a second through all three layers."""
        return self.events / self.seconds


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
        count: How many events; 4 million when left out.
        only: Names of contenders; all when left out.
        rounds: How often each contender runs. Every round begins with another one, and figures are medians.
        memory: Run Tidemill alone, with a quarter of the events, all, and four times as many.
        quick: Take few events where ``count`` says nothing.
        say: Told what is being done.

    Returns:
        ``name``, ``machine``, ``figures``, ``ratios``, and ``runs`` with everything that was measured.

    Raises:
        BenchError: A contender failed, or its tables are wrong.
        UnknownNameError: There is no such contender.
    """
    count = count or (QUICK_EVENTS if quick else EVENTS)
    wanted = {SHORT.get(name, name) for name in only} or set(CONTENDERS)
    if unknown := wanted - set(CONTENDERS):
        raise UnknownNameError(f"No contender {', '.join(sorted(unknown))}; there are: {', '.join(CONTENDERS)}.")
    names = [name for name in CONTENDERS if name in wanted]
    with servers(_HERE / "workspace", say) as workspace:
        runs = _memory(workspace, count, say) if memory else _race(workspace, count, names, rounds, say)
    figures, ratios = (_memory_figures if memory else _race_figures)(runs)
    return {
        "name": "lake",
        "machine": machine.describe(),
        "figures": figures,
        "ratios": ratios,
        "runs": [asdict(run) for run in runs],
    }


def _race(workspace: Workspace, count: int, names: Sequence[str], rounds: int, say: Say) -> list[Run]:
    _load(workspace, 0, count, say)
    runs = []
    for left in reversed(range(rounds)):
        turn = (left + 1) % len(names)  # Tidemill, the first name, goes last in the last round: its small commits add events
        for name in [*names[turn:], *names[:turn]]:
            runs.append(_measure(workspace, name, count, f"{name}-{left}", name == "tidemill" and not left, say))
    return runs


def _memory(workspace: Workspace, count: int, say: Say) -> list[Run]:
    runs: list[Run] = []
    loaded = 0
    for size in (max(count // 4, 1), count, count * 4):
        _load(workspace, loaded, size, say)
        loaded = size
        runs.append(_measure(workspace, "tidemill", size, f"memory-{size}", False, say))
    return runs


def _load(workspace: Workspace, start: int, stop: int, say: Say) -> None:
    """Publish events to the topic, before any clock starts."""
    settings = Settings.load(workspace)

    def report(result: ReplayResult) -> None:
        say(f"loading the topic: {start + result.acked:,} of {stop:,} events")

    publish(settings, Kafka("events", partitions=max(2, cores(settings))), events(start, stop), on_progress=report)


def _measure(workspace: Workspace, name: str, count: int, label: str, small: bool, say: Say) -> Run:
    """Run one contender, look at what it used, and check what it made."""
    bucket = Bucket(workspace, label.replace("_", "-"))
    _forget(bucket.settings)
    say(f"waiting for a quiet machine before {name}")
    busy = machine.wait_until_quiet(_IDLE_SECONDS if count >= _SERIOUS else 0)
    batches = 0 if not small else SMALL_COMMITS if count >= _SERIOUS else 3
    arguments = [name, str(workspace.root), str(count), str(batches)]
    with bucket.made():
        requests_before = bucket.requests()
        started = time.monotonic()
        with Measured(
            module("bench.lake.contend", *arguments),
            environment=bucket.environment,
            log=workspace.state / f"{label}.log",
        ) as process:
            say(f"{name}: starting")
            process.next("ready")
            startup = time.monotonic() - started
            say(f"{name}: {count:,} events through three layers")
            done = process.next("done")
            usage = process.stop_sampling()
            time.sleep(_SETTLE_SECONDS)
            requests = bucket.requests() - requests_before
            files, size = bucket.files()
            say(f"{name}: checking its tables")
            check(name, bucket.settings, expected(count))
            process.tell()
            commits: dict[str, list[float]] = {}
            if batches:
                say(f"{name}: small commits")
                commits = process.next("small_commits")["milliseconds"]
            process.finish()
            if batches:
                check(name, bucket.settings, expected(count + batches * SMALL_BATCH))
    return Run(
        contender=name,
        events=count,
        seconds=done["seconds"],
        startup_seconds=startup,
        stages=done["stages"],
        peak_memory_mib=usage.peak_mib,
        memory_by_program=usage.peak_by_program,
        cpu_seconds=usage.cpu_seconds,
        files=files,
        bytes=size,
        requests=dict(requests),
        busy_before=busy,
        small_commits=commits,
    )


def _forget(settings: Settings) -> None:
    """Drop what an earlier run left in the control database."""
    with psycopg.connect(settings.require("postgres"), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS tidemill CASCADE")


def _race_figures(runs: Sequence[Run]) -> tuple[dict[str, float], dict[str, float]]:
    rates = {name: median(found) for name in CONTENDERS if (found := [run.rate for run in runs if run.contender == name])}
    figures = {f"{name}_events_per_s": round(rate, 1) for name, rate in rates.items()}
    ours = [run for run in runs if run.contender == "tidemill"]
    if not ours:
        return figures, {}
    figures["tidemill_peak_memory_mib"] = round(max(run.peak_memory_mib for run in ours), 1)
    figures["small_commit_p50_ms"] = round(median(ours[-1].small_commits["bronze"]), 1)
    ratios = {f"to_{name}": round(rates["tidemill"] / rate, 3) for name, rate in rates.items() if name != "tidemill"}
    return figures, ratios


def _memory_figures(runs: Sequence[Run]) -> tuple[dict[str, float], dict[str, float]]:
    figures: dict[str, float] = {}
    for run in runs:
        figures[f"tidemill_peak_memory_mib_at_{run.events}_events"] = round(run.peak_memory_mib, 1)
        figures[f"tidemill_events_per_s_at_{run.events}_events"] = round(run.rate, 1)
    return figures, {"memory_largest_to_smallest": round(runs[-1].peak_memory_mib / runs[0].peak_memory_mib, 3)}
