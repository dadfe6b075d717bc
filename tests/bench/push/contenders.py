"""Who is measured: the push service, and a Panel page that polls. Each with what writes its rows, and its clients."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from lakehouse.catalog import Kafka
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic
from lakehouse.stack.ports import LOOPBACK, choose
from lakehouse.stack.state import StackState
from lakehouse.storage.hot import declare
from lakehouse.workspace import Workspace

from ..process import Process, module, processor_seconds, until
from .ages import Ages
from .rows import COLUMNS, FEED, PARTITIONS

_CROWDS = 2  # processes that hold the clients


@dataclass(frozen=True)
class Point:
    """What was seen with so many clients.

    Attributes:
        contender: ``push`` or ``panel``.
        clients: How many were connected.
        seconds: How long was measured.
        p50_ms, p95_ms, p99_ms: Age of rows when they arrived, since the time at which they were due.
        rows: Rows that arrived, at all clients together.
        messages: Messages that brought them.
        mib: Size of those.
        lost: Clients that were dropped, or refused.
        offered_per_s: Rows that were written a second.
        late_ms: How late a row was written at most.
        cores: Processor time of each part, in cores.
        service_mib: Resident memory of the service.
    """

    contender: str
    clients: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    rows: int
    messages: int
    mib: float
    lost: int
    offered_per_s: float
    late_ms: float
    cores: dict[str, float]
    service_mib: float


class Trial:
    """A contender that runs, with rows that come, and as many clients as one wants."""

    def __init__(self, name: str, workspace: Workspace, service: Process, producer: Process, crowds: list[Process]) -> None:
        self.name = name
        self._producer = producer
        self._crowds = crowds
        state = StackState.load(workspace)
        store = {"push": "kafka", "panel": "postgres"}[name]
        self._parts = {
            "service": [service.pid],
            "clients": [crowd.pid for crowd in crowds],
            "producer": [producer.pid],
            store: [state.pids[store].pid],
        }

    @property
    def service_mib(self) -> float:
        """Resident memory of the service."""
        return float(psutil.Process(self._parts["service"][0]).memory_info().rss / 2**20)

    def grow(self, clients: int) -> int:
        """Have so many clients; returns how many were refused."""
        for number, crowd in enumerate(self._crowds):
            crowd.tell({"clients": len(range(number, clients, len(self._crowds)))})
        return sum(crowd.next("there")["refused"] for crowd in self._crowds)

    def measure(self, clients: int, warm_up: float, seconds: float) -> Point:
        """Look at how old rows are with so many clients."""
        refused = self.grow(clients)
        time.sleep(warm_up)
        before, began = self._written(), self._processor()
        for crowd in self._crowds:
            crowd.tell({"seconds": seconds})
        found = [crowd.next("measured") for crowd in self._crowds]
        after, ended = self._written(), self._processor()
        passed = after["at"] - before["at"]
        ages = sum((Ages(x["ages"]) for x in found), Ages())
        p50, p95, p99 = (round(ages.percentile_ms(x), 1) for x in (50, 95, 99))
        return Point(
            contender=self.name,
            clients=clients,
            seconds=seconds,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            rows=ages.rows,
            messages=sum(x["messages"] for x in found),
            mib=round(sum(x["bytes"] for x in found) / 2**20, 1),
            lost=refused + sum(x["lost"] for x in found),
            offered_per_s=round((after["rows"] - before["rows"]) / passed, 1),
            late_ms=round(after["late_ms"], 1),
            cores={part: round((ended[part] - began[part]) / passed, 2) for part in began},
            service_mib=round(self.service_mib, 1),
        )

    def _written(self) -> dict[str, Any]:
        self._producer.tell()
        return self._producer.next("written")

    def _processor(self) -> dict[str, float]:
        """Return the processor time that each part used so far, in seconds."""
        return {part: sum(processor_seconds(pid) for pid in pids) for part, pids in self._parts.items()}


@contextmanager
def trial(name: str, workspace: Workspace) -> Iterator[Trial]:
    """Start a contender, and what writes its rows; the rows come at once, clients when they are asked for."""
    settings = Settings.load(workspace)
    root = str(workspace.root)

    def process(program: str, *arguments: str) -> Process:
        log = workspace.state / f"{name}-{program.rpartition('.')[2]}{arguments[2] if len(arguments) > 2 else ''}.log"
        return Process(module(program, *arguments), environment={"TIDEMILL_WORKSPACE": root}, log=log)

    with ExitStack() as stack:
        if name == "push":
            ensure_topic(settings, Kafka(f"{FEED}.live", partitions=PARTITIONS))
            declare(settings.require("postgres"), FEED, COLUMNS)
        producer = stack.enter_context(process("bench.push.produce", root, {"push": "kafka", "panel": "postgres"}[name]))
        producer.next("writing")
        if name == "push":
            service = stack.enter_context(process("jobs", "run", "--lane", "push"))
            url, token = until(lambda: _push(workspace), service)
        else:
            port = choose(set())
            service = stack.enter_context(process("bench.push.panel_page", root, str(port)))
            url, token = f"http://{LOOPBACK}:{port}", ""
            until(lambda: _answers(f"{url}/live?first=0&end=1"), service)
        crowds = []
        for number in range(_CROWDS):
            crowds.append(stack.enter_context(process("bench.push.clients", name, url, str(number), str(_CROWDS))))
            crowds[-1].tell(token)
            crowds[-1].next("ready")
        yield Trial(name, workspace, service, producer, crowds)


def _push(workspace: Workspace) -> tuple[str, str]:
    endpoint = Endpoint.of(workspace)
    _answers(endpoint.url.replace("ws:", "http:") + "/health")
    return endpoint.url, endpoint.token


def _answers(url: str) -> None:
    with urllib.request.urlopen(url, timeout=5) as answer:
        answer.read()
