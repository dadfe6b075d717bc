"""``tidemill bench push``: a thousand rows a second to many WebSocket clients, and to Panel sessions that poll."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lakehouse.errors import UnknownNameError
from lakehouse.workspace import Workspace

from .. import machine
from ..store import servers
from .contenders import Point, trial
from .rows import PER_SECOND, filter_of

CONTENDERS = ("push", "panel")
CLIENTS = 1_000
SECONDS = 60.0
QUICK_SECONDS = 10.0
TOO_OLD_MS = 1_000.0

_HERE = Path(__file__).parent
_IDLE_SECONDS = 15.0
_WARM_UP_SECONDS = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ladder:
    """How the number of clients grows.

    Attributes:
        first: The first number; each next one is twice as large.
        most: The largest one.
        halvings: How often the interval that the knee is in is halved.
    """

    first: int
    most: int
    halvings: int = 2


LADDERS = {"push": Ladder(CLIENTS, 16 * CLIENTS), "panel": Ladder(25, 3_200)}
QUICK_LADDERS = {"push": Ladder(CLIENTS, 4 * CLIENTS, 1), "panel": Ladder(50, 400, 1)}


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
        count: How many rows are written while one number of clients is measured, a thousand a second; 60 thousand when left out.
        only: Names of contenders; both when left out.
        rounds: Not used here.
        memory: Not used here: memory is always shown.
        quick: Measure for ten seconds instead of sixty, and look for the knee up to fewer clients.
        say: Told what is being done.

    Returns:
        ``name``, ``machine``, ``figures``, ``ratios``, and ``points`` with everything that was measured.

    Raises:
        BenchError: Something ended.
        UnknownNameError: There is no such contender.
    """
    if unknown := set(only) - set(CONTENDERS):
        raise UnknownNameError(f"No contender {', '.join(sorted(unknown))}; there are: {', '.join(CONTENDERS)}.")
    seconds = count / PER_SECOND if count else QUICK_SECONDS if quick else SECONDS
    ladders = QUICK_LADDERS if quick else LADDERS
    with servers(_HERE / "workspace", say) as workspace:
        busy = machine.wait_until_quiet(0 if quick else _IDLE_SECONDS)
        return report(workspace, {x: ladders[x] for x in CONTENDERS if x in (only or CONTENDERS)}, seconds, busy, say)


def report(workspace: Workspace, ladders: dict[str, Ladder], seconds: float, busy: float, say: Say) -> dict[str, Any]:
    """Measure contenders one after the other, each up its ladder."""
    points: list[Point] = []
    alone: dict[str, float] = {}
    for name, ladder in ladders.items():
        say(f"{name}, starting: the service, and a thousand rows a second")
        with trial(name, workspace) as running:
            running.measure(0, 0, min(_WARM_UP_SECONDS, seconds))  # with rows, without clients
            alone[name] = running.service_mib

            def at(clients: int, running: Any = running, name: str = name) -> Point:
                say(f"{name}, {clients:,} clients: measuring for {seconds:g} s")
                point: Point = running.measure(clients, min(_WARM_UP_SECONDS, seconds), seconds)
                say(f"{name}, {clients:,} clients, p95 {point.p95_ms:,.0f} ms of {point.rows:,} rows, {point.lost:,} lost: seen")
                return point

            points += climb(ladder, at)
    figures: dict[str, float] = {}
    knees = {name: max((x.clients for x in points if x.contender == name and good(x)), default=0) for name in ladders}
    if pushed := [x for x in points if x.contender == "push"]:
        first = pushed[0]
        figures[f"update_age_p95_ms_at_{first.clients}"] = first.p95_ms
        figures["mib_per_client"] = round((first.service_mib - alone["push"]) / first.clients, 4)
        figures["knee_clients"] = float(knees["push"])
    if panels := [x for x in points if x.contender == "panel"]:
        figures["panel_mib_per_client"] = round((panels[0].service_mib - alone["panel"]) / panels[0].clients, 4)
        figures["panel_knee_clients"] = float(knees["panel"])
    return {
        "name": "push",
        "machine": machine.describe(),
        "figures": figures,
        "ratios": {"clients_to_plain_panel": round(knees["push"] / knees["panel"], 2)} if knees.get("panel") and pushed else {},
        "busy_before": busy,
        "wishes": len({repr(filter_of(client)) for client in range(pushed[0].clients)}) if pushed else 0,
        "unbounded": [name for name in ladders if all(good(x) for x in points if x.contender == name)],
        "points": [asdict(point) for point in points],
    }


def good(point: Point) -> bool:
    """Say whether rows are written at their rate, and come in time, to all clients."""
    return point.offered_per_s >= 0.95 * PER_SECOND and bool(point.rows) and point.p95_ms < TOO_OLD_MS and not point.lost


def climb(ladder: Ladder, at: Callable[[int], Point]) -> Iterator[Point]:
    """Double the clients until rows come too late, then halve the interval."""
    low, high, clients = 0, 0, ladder.first
    while not high and clients <= ladder.most:
        point = at(clients)
        yield point
        low, high, clients = (clients, 0, 2 * clients) if good(point) else (low, clients, clients)
    for _ in range(ladder.halvings if high else 0):
        point = at((low + high) // 2)
        yield point
        low, high = (point.clients, high) if good(point) else (low, point.clients)
