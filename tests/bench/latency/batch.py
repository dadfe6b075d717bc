"""What the length of a Real-time Mode batch costs both ways: the pause between two, and what a crash reads again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lakehouse.settings import Settings
from lakehouse.sources.kafka import topic_id
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

from ..errors import BenchError
from ..process import Process
from .contenders import kafka
from .contenders._contender import SOURCE, Contender
from .measure import Say, begin_anew, measure, warm_up

RATE = 5_000
LENGTHS: Mapping[str, float] = {"30 seconds": 30, "2 minutes": 120, "10 minutes": 600}
QUICK: Mapping[str, float] = {"10 seconds": 10}

LEAST_SECONDS = 120.0
_KILLED_AT = 0.9  # of a batch
_RECOVERY_SECONDS = 60.0  # a new driver, and half as long as what it reads again took to come
_FRESH_US = 1_000_000
_PATIENCE = 300.0


@dataclass(frozen=True)
class Batch:
    """One length.

    Attributes:
        batch: The setting ``fast.batch``.
        rate: Events a second.
        seconds: How long rows were looked at: whole batches, so boundaries count as often as they come.
        milliseconds: ``p50`` to ``p999``, and ``most``: the longest pause.
        repeated: Rows that came again after a kill late in a batch.
        caught_up_s: From the kill until rows are less than a second old again, the start of a new driver included; ``None`` when
            they did not become so while the load lasted.
        taken_over_s: Likewise, where another driver stood by.
    """

    batch: str
    rate: int
    seconds: float
    milliseconds: dict[str, float]
    repeated: int
    caught_up_s: float | None
    taken_over_s: float | None


def costs(workspace: Workspace, name: str, length: float, warm_seconds: float, least: float, say: Say) -> dict[str, object]:
    """Look at whole batches of one length, then kill drivers late in one."""
    settings = Settings.load(workspace)
    environment = {"TIDEMILL_FAST__BATCH": name}
    begin_anew(workspace)
    with ExitStack() as stack:
        lane = stack.enter_context(kafka.running(workspace, environment))
        warm_up(workspace, f"batch of {name}", lane, RATE, warm_seconds, say)
        seconds = length * max(1, round(least / length))
        say(f"batch of {name}: {seconds:.0f} seconds")
        point = measure(workspace, name, lane, RATE, seconds)

        def after_kill(of: Process, take_over: Callable[[], object]) -> tuple[int, float | None]:
            """Kill a driver late in a batch while rows come, and let another one go on."""
            killed: list[float] = []

            def kill() -> None:
                _wait_for_end(settings, length)
                time.sleep(_KILLED_AT * length)
                killed.append(time.time())
                of.kill()
                take_over()

            total = length + _KILLED_AT * length * 1.5 + _RECOVERY_SECONDS
            seen = measure(workspace, name, Contender(()), RATE, total, meanwhile=kill).seen["kafka"]
            return seen.repeated, caught_up(np.load(workspace.state / "kafka.npy"), killed[0])

        say(f"batch of {name}: a kill late in one, and a new driver")
        started: list[Contender] = []
        repeated, cold = after_kill(
            lane.workers[0], lambda: started.append(stack.enter_context(kafka.running(workspace, environment)))
        )
        say(f"batch of {name}: a kill late in one, and a driver that stands by")
        spare = stack.enter_context(kafka.standing_by(workspace, environment))
        _, warm = after_kill(started[0].workers[0], spare.tell)
    return asdict(
        Batch(
            batch=name,
            rate=RATE,
            seconds=seconds,
            milliseconds=point.seen["kafka"].milliseconds,
            repeated=repeated,
            caught_up_s=cold,
            taken_over_s=warm,
        )
    )


def caught_up(seen: NDArray[np.int64], since: float) -> float | None:
    """Return after how many seconds a row was fresh again when it came, if one was."""
    new = seen[seen[:, 0] > since * 1e6]
    fresh = new[new[:, 1] - new[:, 0] < _FRESH_US, 1]
    return round(float(fresh.min()) / 1e6 - since, 1) if len(fresh) else None


def _wait_for_end(settings: Settings, length: float) -> None:
    """Wait until a batch is committed."""
    objects = Objects(settings)
    folder = f"{objects.bucket}/checkpoints/live/{SOURCE}/{topic_id(settings, SOURCE)}/commits"

    def commits() -> int:
        objects.fs.invalidate_cache()
        return len(objects.fs.find(folder))

    before, deadline = commits(), time.monotonic() + length + _PATIENCE
    while commits() == before:
        if time.monotonic() > deadline:
            raise BenchError("The lane commits no batch.")
        time.sleep(0.5)
