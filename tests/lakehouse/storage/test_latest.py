"""The latest state of each key, on a real Valkey."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import valkey

from lakehouse.livetables import LiveSpec
from lakehouse.settings import Settings
from lakehouse.storage.latest import Latest
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

START = datetime(2013, 6, 1, tzinfo=UTC)


@pytest.fixture
def client(stack: tuple[Workspace, Settings]) -> Iterator[valkey.Valkey]:
    with valkey.Valkey.from_url(stack[1].require("valkey")) as client:
        yield client


@pytest.fixture
def latest(client: valkey.Valkey) -> Iterator[Latest]:
    spec = LiveSpec(
        name=f"t{uuid.uuid4().hex[:8]}",
        keys=("gauge", "kind"),
        sequence_by="at",
        retention=timedelta(hours=6),
        window=timedelta(hours=1),
        inputs={},
        function=lambda: None,
        description="",
    )
    yield Latest(client, spec)
    for name in client.scan_iter(f"tidemill:{{{spec.name}}}:*"):
        client.delete(name)


def row(gauge: int, minute: int, offset: int = 0) -> dict[str, Any]:
    at = START + timedelta(minutes=minute)
    position = {"_partition": 0, "_offset": offset, "_timestamp": at}
    return {"gauge": gauge, "kind": "höhe", "at": at.isoformat(), "level": minute, **position}


def test_the_latest_state_stands_whatever_order_rows_come_in(latest: Latest) -> None:
    rows = [row(gauge, minute, offset=minute) for gauge in range(20) for minute in range(30)]
    random.Random(3).shuffle(rows)
    for start in range(0, len(rows), 7):
        latest.put(rows[start : start + 7])
        latest.put(rows[start : start + 7])
    for gauge in range(20):
        state = latest.get([gauge, "höhe"])
        assert state is not None
        assert state["level"] == 29
    assert latest.get([99, "höhe"]) is None


def test_of_two_states_of_one_moment_the_later_record_stands(latest: Latest) -> None:
    latest.put([row(1, 5, offset=9) | {"level": 1}])
    latest.put([row(1, 5, offset=8) | {"level": 2}])
    state = latest.get([1, "höhe"])
    assert state is not None
    assert state["level"] == 1


def test_times_before_1970_and_numbers_sort_too(latest: Latest) -> None:
    moments = ["1900-01-01T00:00:00+00:00", "1969-12-31T23:59:59.999999+00:00", "1970-01-01T00:00:00Z", START.isoformat()]
    texts = [latest.sequence(row(1, 0) | {"at": moment}) for moment in moments]
    assert texts == sorted(texts)
    numbers = [latest.sequence(row(1, 0) | {"at": number}) for number in (-(2**63), -5, 0, 7, 2**63 - 1)]
    assert numbers == sorted(numbers)
    for unknown in (None, "+294277-01-01T00:00:00Z", "soon", [1]):
        assert latest.sequence(row(1, 0) | {"at": unknown}) < texts[0]


def test_the_stream_takes_each_row_once_and_keeps_the_newest(latest: Latest, client: valkey.Valkey) -> None:
    latest.append("one", 1, [(n, b"{}") for n in range(100)])
    latest.append("one", 1, [(n, b"{}") for n in range(50, 150)])
    name = latest.stream(1)
    assert client.xlen(name) == 150
    assert client.xrange(name, count=1)[0][0] == b"1-0"
    assert client.xrevrange(name, count=1)[0][0] == b"150-0"


def test_the_stream_of_a_topic_that_was_made_again_begins_anew(latest: Latest, client: valkey.Valkey) -> None:
    latest.append("one", 0, [(n, b"old") for n in range(100)])
    latest.append("two", 0, [(n, b"new") for n in range(3)])
    latest.append("two", 0, [(n, b"new") for n in range(3)])
    entries = client.xrange(latest.stream(0))
    assert [row[b"row"] for _, row in entries] == [b"new"] * 3


def test_states_behind_the_retention_are_forgotten(latest: Latest) -> None:
    latest.put([row(gauge, gauge) for gauge in range(10)])
    latest.forget(START + timedelta(minutes=4))
    assert [latest.get([gauge, "höhe"]) is None for gauge in range(6)] == [True] * 4 + [False] * 2


def test_what_is_written_together_is_as_if_it_was_one_after_the_other(latest: Latest, client: valkey.Valkey) -> None:
    with latest.together() as together:
        together.put([row(gauge, gauge) for gauge in range(3_000)])
        together.append("one", 0, [(n, b"{}") for n in range(3_000)])
        together.forget(START + timedelta(minutes=4))
        assert latest.all() == []  # it is sent at the end
    assert len(latest.all()) == 2_996
    assert client.xlen(latest.stream(0)) == 3_000
    client.script_flush()
    with latest.together() as together:
        together.put([row(5_000, 5)])
    assert latest.get([5_000, "höhe"]) is not None


def test_a_lost_memory_is_noticed_and_made_again(latest: Latest) -> None:
    assert not latest.is_whole
    assert latest.rebuild(row(gauge, 0) for gauge in range(2_345)) == 2_345
    assert latest.is_whole
    assert latest.get([2_344, "höhe"]) is not None
