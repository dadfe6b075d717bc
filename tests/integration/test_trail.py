"""The audit log in the lake: each entry once, whatever breaks on the way, and another copy to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lakes import Lake

from lakehouse.errors import LeaseLostError
from lakehouse.lanes import trail as module
from lakehouse.lanes.trail import Trail
from lakehouse.security.audit import Audit, verify
from lakehouse.serving.carried import carried
from lakehouse.storage.objects import Objects

pytestmark = pytest.mark.integration


@pytest.fixture
def audit(readings: Lake) -> Iterator[Audit]:
    objects = Objects(readings.settings)
    objects.ensure_bucket()
    readings.control.run("DROP TABLE IF EXISTS tidemill.audit")
    audit = Audit(readings.control, objects)
    yield audit
    audit.close()
    readings.control.run("DROP TABLE tidemill.audit")


def write(audit: Audit, numbers: range) -> None:
    for number in numbers:
        audit.record({"kind": "query", "user": "ada é✈", "n": number})


def held(readings: Lake) -> list[Any]:
    table = readings.spark.read.format("delta").load(f"{readings.settings.lake_uri}/audit_log")
    return [row["number"] for row in table.orderBy("number").collect()]


def test_entries_are_carried_once(readings: Lake, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    context = readings.context()
    try:
        trail = Trail(context)
        assert trail.carry() == 0
        assert carried(readings.settings) == []
        write(audit, range(5))
        assert (trail.carry(), trail.carry()) == (5, 0)
        monkeypatch.setattr(module, "_MOST", 3)
        write(audit, range(5, 15))
        assert Trail(context).carry() == 10  # another process, which knows only what the table says
        write(audit, range(15, 20))
        assert Trail(context).carry() == 5
    finally:
        context.lease.release()
    assert held(readings) == list(range(1, 21))
    assert len(carried(readings.settings)) == 20


def test_who_lost_the_lease_carries_nothing(readings: Lake, audit: Audit) -> None:
    context = readings.context()
    write(audit, range(3))
    readings.control.run("UPDATE tidemill.lease SET token = token + 1")
    try:
        with pytest.raises(LeaseLostError):
            Trail(context).carry()
    finally:
        context.lease.release()
    assert carried(readings.settings) == []


def test_an_entry_that_is_another_one_in_the_lake_is_found(readings: Lake, audit: Audit) -> None:
    context = readings.context()
    try:
        write(audit, range(4))
        Trail(context).carry()
    finally:
        context.lease.release()
    inside = carried(readings.settings)
    count, breaks = verify(readings.control, Objects(readings.settings), inside)
    assert (count, [x for x in breaks if "lake" in x.what]) == (4, [])
    writer = inside[0][0]
    for change in (
        "UPDATE tidemill.audit SET hash = repeat('0', 64) WHERE number = 2",
        "DELETE FROM tidemill.audit WHERE number = 3",
        "DELETE FROM tidemill.audit",
    ):
        readings.control.run(change)
        found = [
            x.number
            for x in verify(readings.control, Objects(readings.settings), inside)[1]
            if x.what == "is another one than the lake has"
        ]
        assert found
    assert found == [1, 2, 3, 4]
    assert all(name == writer for name, _, _ in inside)
