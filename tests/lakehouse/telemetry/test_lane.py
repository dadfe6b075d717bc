from __future__ import annotations

import os
import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

from lakehouse.catalog import TableSpec
from lakehouse.telemetry.counts import ABSENT, Count
from lakehouse.telemetry.lane import fast_lane_status, lane_status, live_status, table_state
from lakehouse.telemetry.ledger import Ledger

GOLD = TableSpec("gold", "levels")
AIRLINES = TableSpec("reference", "airlines")


def ledger(lease: dict[str, Any] | None = None, states: dict[str, dict[str, Any]] | None = None) -> Ledger:
    return Ledger(datetime.now(UTC), states or {}, {}, [], {}, {}, {}, {}, lease)


def lease(**changes: Any) -> dict[str, Any]:
    here = psutil.Process()
    own = {"holder": "tidemill run", "host": socket.gethostname(), "pid": os.getpid(), "process_started": here.create_time()}
    return {**own, "alive": True, **changes}


def test_the_lane_runs_while_its_process_lives_and_renews_the_lease() -> None:
    found = lane_status(ledger(lease()))
    assert (found.state, found.holder, found.pid) == ("running", "tidemill run", os.getpid())


@pytest.mark.parametrize(
    "changes",
    [{"alive": False}, {"pid": 2**22 + 1}, {"process_started": 1.0}],
    ids=["expired", "process gone", "another process of that number"],
)
def test_the_lane_of_a_dead_process_is_not_running(changes: dict[str, Any]) -> None:
    found = lane_status(ledger(lease(**changes)))
    assert found.state == "stopped"
    assert "`tidemill run`" in found.sentence


def test_a_lane_on_another_machine_is_believed_until_its_lease_ends() -> None:
    assert lane_status(ledger(lease(host="elsewhere", pid=2**22 + 1))).state == "running"


def test_nothing_is_claimed_of_a_lane_that_never_ran_or_cannot_be_seen() -> None:
    assert "never ran" in lane_status(ledger()).sentence
    assert lane_status(None).state == "unknown"


def test_a_table_that_ran_in_a_dead_process_is_idle_and_says_how_to_go_on() -> None:
    states = {"gold.levels": {"state": "running", "reason": ""}}
    running, stopped = lane_status(ledger(lease())), lane_status(ledger())
    assert table_state(GOLD, ledger(states=states), running, ABSENT) == ("running", "")
    state, sentence = table_state(GOLD, ledger(states=states), stopped, ABSENT)
    assert state == "idle"
    assert "`tidemill run`" in sentence


def test_a_stopped_table_keeps_its_sentence_whoever_runs() -> None:
    states = {"gold.levels": {"state": "stopped", "reason": "Its function fails."}}
    for lane in (lane_status(ledger(lease())), lane_status(ledger())):
        assert table_state(GOLD, ledger(states=states), lane, ABSENT) == ("stopped", "Its function fails.")


def test_a_table_without_a_state_waits_for_its_turn_or_never_ran() -> None:
    assert table_state(GOLD, ledger(), lane_status(ledger(lease())), ABSENT)[0] == "waiting"
    assert table_state(GOLD, ledger(), lane_status(ledger()), ABSENT)[0] == "idle"
    assert table_state(GOLD, None, lane_status(None), ABSENT) == ("unknown", "")


def test_reference_data_is_loaded_once_it_is_written() -> None:
    lane = lane_status(ledger())
    assert table_state(AIRLINES, ledger(), lane, Count(0, 16, 1, 1)) == ("loaded", "")
    assert table_state(AIRLINES, ledger(), lane, ABSENT)[0] == "waiting"


def test_a_live_table_whose_lane_was_killed_does_not_run() -> None:
    states = {"live.tides": {"state": "running", "reason": ""}, "hot.tides": {"state": "paused", "reason": "It is away."}}
    dead = ledger(states=states)
    assert fast_lane_status(dead).sentence == "The fast lane never ran here; `tidemill run --lane fast` starts it."
    killed = live_status("tides", dead, fast_lane_status(dead), {})
    assert (killed.state, killed.sink, killed.sink_sentence) == ("idle", "paused", "It is away.")
    held = replace(dead, fast_lease=lease(holder="tidemill run --lane fast"))
    assert fast_lane_status(held).sentence.endswith("writes the live tables.")
    assert live_status("tides", held, fast_lane_status(held), {}).state == "running"
    assert live_status("tides", None, fast_lane_status(None), {}).state == "unknown"
