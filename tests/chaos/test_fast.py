"""Everything that the fast lane is made of is killed, again and again, while records come: nothing is lost or counted twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest
import valkey
from live_lanes import running
from sightings import CLOCK_MS, FEED, Ledger, Sightings, is_good, record, wait_for

from lakehouse.catalog import Kafka
from lakehouse.serving.client import subscribe
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.sources.kafka import ensure_topic
from lakehouse.stack import supervisor
from lakehouse.storage.latest import Latest

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

KILLS = 20
LANES = {"driver": "fast", "sink": "hot", "push": "push"}
SERVERS = ["kafka", "postgres", "valkey"]


class Lanes:
    """The processes of the fast lane, each started again after it was killed."""

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings
        self._open: dict[str, tuple[ExitStack, subprocess.Popen[bytes]]] = {}

    def start(self, name: str) -> None:
        stack = ExitStack()
        self._open[name] = stack, stack.enter_context(running(self._sightings.workspace, LANES[name]))

    def kill(self, name: str) -> None:
        stack, process = self._open.pop(name)
        assert process.poll() is None, f"the {name} ended by itself"
        os.killpg(process.pid, signal.SIGKILL)
        stack.close()

    def close(self) -> None:
        for stack, _ in self._open.values():
            stack.close()


def test_twenty_kills_of_the_fast_lane(sightings: Sightings) -> None:
    rng = random.Random(11)
    victims = [name for name in [*LANES, *SERVERS] for _ in range(KILLS // 6 + 1)]
    rng.shuffle(victims)
    ensure_topic(sightings.settings, Kafka(FEED, partitions=2))
    ledger, sent, ending = Ledger(sightings.settings, FEED), [0], threading.Event()
    pushed: list[str] = []
    lanes = Lanes(sightings)

    def produce() -> None:
        while not ending.wait(0.01):
            ledger.send(sent[0], record(sent[0]), CLOCK_MS + sent[0])
            sent[0] += 1
        ledger.finish()

    def watch() -> None:
        for change in subscribe(Endpoint.of(sightings.workspace), FEED, frame_ms=0):
            pushed.extend(
                row["id"] if change.kind == "rows" else f"{change.kind}: {change.reason}" for row in change.rows or [{}]
            )

    producing = threading.Thread(target=produce)
    try:
        for name in LANES:
            lanes.start(name)
        wait_for(lambda: (sightings.workspace.state / "push.json").exists(), "the push service is there")
        producing.start()
        wait_for(lambda: bool(sightings.hot_ids()), "the first rows are hot")
        threading.Thread(target=watch, daemon=True).start()
        for victim in victims[:KILLS]:
            before = len(ledger.acknowledged)
            if victim in LANES:
                lanes.kill(victim)
                time.sleep(rng.random())
                lanes.start(victim)
            else:
                sightings.kill(victim)
                if victim == "valkey" and rng.random() < 0.5:
                    shutil.rmtree(next((sightings.servers.state / "data/valkey").rglob("appendonlydir")))
                time.sleep(rng.random() * 2)
                supervisor.up(sightings.servers)
            time.sleep(rng.random() * 20)
            print(f"{victim} killed with {before:,} acknowledged, {len(sightings.hot_ids()):,} hot", flush=True)
        ending.set()
        producing.join()
        must = {f"s{number:05}" for number in ledger.acknowledged if is_good(number)}
        may = {f"s{number:05}" for number in range(sent[0]) if is_good(number)}
        wait_for(lambda: must <= set(sightings.hot_ids()), "what was acknowledged is hot")
        hot = sightings.hot_ids()
        assert len(hot) == len(set(hot))
        assert set(hot) <= may
        with valkey.Valkey.from_url(sightings.settings.require("valkey")) as client:
            latest = Latest(client, sightings.spec)
            newest = {bird: max(row for row in hot if int(row[1:]) % 3 == n) for n, bird in enumerate(("gull", "tern", "auk"))}
            wait_for(
                lambda: {bird: (latest.get([bird]) or {}).get("id") for bird in newest} == newest, "the latest states are there"
            )
        wait_for(lambda: not pushed or max(hot) in pushed, "the subscriber has the last row")
        rows = [name for name in pushed if name.startswith("s")]
        assert rows
        assert len(rows) == len(set(rows)), "a row was pushed twice"
        if not any(name.startswith("gap") for name in pushed):
            first = min(int(name[1:]) for name in rows)
            assert {name for name in hot if int(name[1:]) > first + 100} <= set(rows), "a row was not pushed"
    finally:
        ending.set()
        lanes.close()
