"""The lake lane on real servers: what comes in is in exactly one place, whatever it looks like."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from delta.tables import DeltaTable
from kafka.admin import NewPartitions

from lakehouse.lanes.lake import LakeLane
from lakehouse.sources.kafka import admin, delete_topic, ensure_topic
from lakehouse.sources.replay import Event, publish, replayer
from lakehouse.testing import assert_same_rows
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

AT = "2013-01-01T00:20:00Z"


def record(number: int, **changes: Any) -> bytes:
    fields = {"id": f"r{number:06}", "at": AT, "kind": "abc"[number % 3], "value": float(number % 100), "count": number}
    return json.dumps({**fields, **changes}).encode()


GOOD = [
    record(0),
    b' \n{"id": "space", "at": "2013-01-01T00:20:00Z", "kind": "a"} ',
    record(1, id="日本語 🎉 \\ \" '"),
    record(2, id="missing", value=None, count=None),
    record(3, id="x" * 200_000),
    b'{"id": "escaped \\u00e9", "at": "2013-01-01T00:20:00Z", "kind": "b", "value": 1e2}',
    record(4, value=-1e308),
    record(5, id="warned", value=1000.0),
    record(6, id="late but in time", at="2012-12-31T01:00:00Z"),
]
BAD: dict[str, bytes | None] = {
    "not json": b"hello",
    "invalid utf-8": b'{"id": "\xff\xfe", "at": "2013-01-01T00:20:00Z", "kind": "a"}',
    "truncated": record(10)[:-5],
    "wrong type": record(11, value="much"),
    "a number for a string": record(12, id=12),
    "missing key": record(13, id=None),
    "missing time": record(14, at=None),
    "empty": b"",
    "tombstone": None,
    "null": b"null",
    "array": b"[1, 2]",
    "two objects": record(15) + record(16),
    "out of range": record(17, count=3_000_000_000),
    "infinite": record(18).replace(b"18.0", b"1e999"),
    "nan": record(19).replace(b"19.0", b"NaN"),
    "deep nesting": b'{"id": "deep", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a key twice": b'{"id": "one", "id": "two", "at": "2013-01-01T00:20:00Z", "kind": "a"}',
    "one megabyte of nothing": b"x" * 1_000_000,
    "days late": record(20, at="2012-12-25T00:00:00Z"),
    "from the future": record(21, at="2014-01-01T00:00:00Z"),
    "not in set": record(22, kind="z"),
    "random bytes": random.Random(7).randbytes(3000),
}


def test_every_kind_of_bad_record_is_a_dead_letter_with_its_bytes(readings: Any) -> None:
    sent = [*GOOD, *BAD.values(), record(0), record(0, value=99.0)]
    assert readings.publish(sent) == len(sent)
    assert readings.run_once() == {}

    account = readings.account()
    assert account.as_dict() | {"reasons": None} == {
        "feed": "readings", "read": len(sent), "silver": len(GOOD), "dead_letters": len(BAD), "duplicates": 2,
        "in_flight": 0, "reasons": None,
    }  # fmt: skip
    assert readings.verify() == []
    dead = readings.table("dead_letters.readings").collect()
    assert sorted(bytes(row["value"]) if row["value"] is not None else b"~" for row in dead) == sorted(
        value if value is not None else b"~" for value in BAD.values()
    )
    assert all(row["reasons"] and row["topic_id"] and row["suite"] == "silver/readings" for row in dead)
    assert readings.table("silver.readings").where("id = 'warned'").count() == 1
    (batch,) = readings.control.batches("silver.readings")
    assert batch["detail"]["warned"] == {"expect_column_values_to_be_between(value)": 2}
    assert readings.table("gold.readings_by_hour").selectExpr("sum(n)").first()[0] == len(GOOD)


def test_batches_that_overlap_add_up(readings: Any) -> None:
    rng = random.Random(3)
    for start in (0, 300, 600):
        rows = [record(n) for n in range(start, start + 400)]
        rng.shuffle(rows)
        readings.publish(rows)
        assert readings.run_once() == {}
    account = readings.account()
    assert (account.read, account.silver, account.duplicates, account.in_flight) == (1200, 1000, 200, 0)
    assert readings.verify() == []
    silver = readings.table("silver.readings")
    assert silver.select("id").distinct().count() == 1000
    expected = silver.selectExpr("kind", "date_trunc('hour', at) AS hour", "count").groupBy("kind", "hour")
    assert_same_rows(
        readings.table("gold.readings_by_hour"), expected.agg({"count": "sum", "*": "count"}).selectExpr(
            "kind", "hour", "`count(1)` AS n", "`sum(count)` AS total"
        )
    )  # fmt: skip


def test_a_rebuild_under_a_changed_suite_judges_everything_again(readings: Any) -> None:
    readings.publish([record(n) for n in range(30)] + [record(1), b"junk"])
    assert readings.run_once() == {}
    readings.write("expectations/silver", SUITE_WITHOUT_C)
    assert readings.rebuild("silver.readings") == 20
    account = readings.account()
    assert (account.read, account.silver, account.dead_letters, account.duplicates) == (32, 20, 11, 1)
    assert readings.verify() == []
    readings.publish([record(n) for n in range(30, 36)])
    assert readings.run_once() == {}
    assert readings.account().silver == 24
    assert readings.verify() == []
    assert {row["kind"] for row in readings.table("gold.readings_by_hour").collect()} == {"a", "b"}


SUITE_WITHOUT_C = """
from great_expectations import expectations as gxe
from lakehouse.quality import Suite, drop
suite = Suite([drop(gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["a", "b"]))])
"""


def test_a_fail_rule_stops_its_table_alone_and_names_the_ways_on(readings: Any, declare_feed: Callable[..., None]) -> None:
    declare_feed(readings, more="fail(gxe.ExpectColumnValuesToBeBetween(column='count', min_value=0)),")
    readings.publish([record(1), record(2, count=-5, id="culprit"), record(3)])
    stopped = readings.run_once()
    assert set(stopped) == {"silver.readings"}
    sentence = stopped["silver.readings"]
    for part in ("silver.readings", "expect_column_values_to_be_between", "culprit", "--set-aside silver.readings"):
        assert part in sentence
    account = readings.account()
    assert (account.read, account.silver, account.dead_letters, account.in_flight) == (3, 0, 0, 3)
    readings.set_aside = {"silver.readings"}
    assert readings.run_once() == {}
    account = readings.account()
    assert (account.silver, account.dead_letters, account.in_flight) == (2, 1, 0)
    assert readings.verify() == []


def test_an_undeclared_field_is_named_and_can_be_declared_later(readings: Any) -> None:
    readings.publish([record(1, colour="red"), record(2), record(3, colour="blue", size=4)])
    assert readings.run_once() == {}
    assert readings.control.undeclared_fields("readings") == {"colour": 2, "size": 1}
    file = readings.workspace.root / "silver" / "readings.py"
    text = file.read_text().replace("count INT", "count INT, colour STRING").replace('"count")', '"count", "colour")')
    file.write_text(text)
    readings.publish([record(4, colour="green")])
    assert readings.run_once() == {}
    colours = {row["id"]: row["colour"] for row in readings.table("silver.readings").collect()}
    assert colours == {"r000001": None, "r000002": None, "r000003": None, "r000004": "green"}
    assert readings.rebuild("silver.readings") == 4
    colours = {row["id"]: row["colour"] for row in readings.table("silver.readings").collect()}
    assert colours == {"r000001": "red", "r000002": None, "r000003": "blue", "r000004": "green"}
    assert readings.verify() == []


def test_a_topic_made_again_stops_its_feed_until_the_loss_is_accepted(readings: Any) -> None:
    readings.publish([record(n) for n in range(5)])
    assert readings.run_once() == {}
    source = readings.catalog["bronze.readings"].source
    delete_topic(readings.settings, source.topic)
    ensure_topic(readings.settings, source)
    readings.publish([record(n) for n in range(5, 12)])
    stopped = readings.run_once()
    assert "--accept-loss readings" in stopped["bronze.readings"]
    assert readings.account().read == 5
    readings.accept_loss = {"readings"}
    assert readings.run_once() == {}
    account = readings.account()
    assert (account.read, account.silver, account.in_flight) == (12, 12, 0)
    assert readings.verify() == []


def test_records_of_an_added_partition_are_read(readings: Any) -> None:
    readings.publish([record(n) for n in range(10)])
    assert readings.run_once() == {}
    with admin(readings.settings) as client:
        client.create_partitions({readings.topic: NewPartitions(total_count=4)})
    readings.publish([record(n) for n in range(10, 110)])
    assert readings.run_once() == {}
    assert readings.table("bronze.readings").select("partition").distinct().count() == 4
    assert readings.account().silver == 110
    assert readings.verify() == []


@pytest.mark.timeout(1500)
def test_flights_through_kafka_equal_pandas_on_the_files(
    new_lake: Callable[..., Any], reference_workspace: Workspace, expected_flights: ModuleType
) -> None:
    """Shuffled, a tenth delivered twice, in three instalments: the marts are those of one batch from the files."""
    lake = new_lake(reference_workspace)
    rng = random.Random(11)
    for feed in ("weather", "flights"):
        events = [event for event in replayer(reference_workspace, feed)(None, None) if _january(feed, event)]
        for part in range(3):
            some = [e for n, e in enumerate(events) if n % 3 == part]
            some += rng.sample(some, len(some) // 10)
            rng.shuffle(some)
            source = lake.catalog[f"bronze.{feed}"].source
            assert source is not None
            publish(lake.settings, source, some)
            if feed == "flights":
                assert lake.run_once() == {}
    expected = expected_flights.everything((1,))
    for name in ("gold.delays_by_carrier_hour", "gold.routes", "gold.carrier_month", "gold.airport_hour_weather"):
        actual = lake.table(name)
        columns = list(expected[name].columns)
        assert_same_rows(actual.select(*columns), expected[name])
    for feed in ("flights", "weather"):
        lake.feed = feed
        assert lake.verify() == []
    assert lake.account().in_flight == 0
    for feed in ("bookings", "flights", "weather"):  # the servers are shared, and these are the names of the reference workspace
        delete_topic(lake.settings, feed)


def _january(feed: str, event: Event) -> bool:
    """Flights scheduled in January land in February too; the weather of its first day belongs to them."""
    assert event.key is not None
    return event.key.startswith(b"2013-01") if feed == "flights" else event.timestamp_ms < 1_360_000_000_000


def test_a_second_writer_is_refused_by_name(readings: Any) -> None:
    from lakehouse.errors import LeaseHeldError
    from lakehouse.lease import Lease

    first, second = Lease(readings.control, seconds=30), Lease(readings.control, seconds=30)
    first.acquire("the first")
    with pytest.raises(LeaseHeldError, match=f"the first.*{os.getpid()}"):
        second.acquire("the second")
    first.release()
    second.acquire("the second")
    assert second.token > first.token
    second.release()


def _counted(lake: Any) -> int:
    path = f"{lake.settings.lake_uri}/gold/readings_by_hour"
    if not DeltaTable.isDeltaTable(lake.spark, path):
        return 0
    return int(lake.table("gold.readings_by_hour").selectExpr("coalesce(sum(n), 0)").first()[0])


def test_a_lane_follows_what_comes_and_rebuilds_on_request(readings: Any) -> None:
    import threading
    import time

    from lakehouse.lanes.owner import Owner

    context = readings.context()
    owner = Owner(context)
    thread = threading.Thread(target=owner.run)
    thread.start()
    try:
        request = None
        for number in range(3):
            readings.publish([record(n) for n in range(number * 10, number * 10 + 10)])
            deadline = time.monotonic() + 120
            while _counted(readings) < number * 10 + 10:
                assert time.monotonic() < deadline, readings.control.states()
                time.sleep(0.5)
            if number == 1:
                request = readings.control.ask("rebuild", "gold.readings_by_hour")
                while readings.control.request_state(request)[0] in ("waiting", "running"):
                    time.sleep(0.2)
        assert request is not None
        assert readings.control.request_state(request)[0] == "done"
    finally:
        owner.lane.stop()
        thread.join()
        context.lease.release()
    assert readings.verify() == []
    assert isinstance(owner.lane, LakeLane)
