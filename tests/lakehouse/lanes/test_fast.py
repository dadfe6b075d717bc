"""What the fast lane's query makes of records, as a batch: the same frame that runs in Real-time Mode."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, cast
from unittest.mock import Mock

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.catalog import Catalog, Reference, Silver
from lakehouse.control import Control
from lakehouse.deadletter.envelope import RECORD
from lakehouse.errors import DeclarationError
from lakehouse.lanes.fast import FastLane
from lakehouse.lanes.slots import slots
from lakehouse.livetables import live, live_tables, with_windows
from lakehouse.replay import flights as replayed
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

CLOCK = datetime(2013, 6, 1, 12)


@pytest.fixture
def lane(spark: SparkSession, reference_workspace: Workspace, catalog: Catalog) -> FastLane:
    control = cast(Control, Mock())  # nothing is started, so nothing is said
    return FastLane(reference_workspace, Settings(), catalog, live_tables(reference_workspace, catalog), spark, control)


@pytest.fixture
def records(spark: SparkSession) -> Callable[..., DataFrame]:
    def make(*values: bytes | None) -> DataFrame:
        rows = [("tid", 1, n, CLOCK, 0, None, value, None, None) for n, value in enumerate(values)]
        by_name = dict(zip(RECORD.names, range(len(RECORD.names)), strict=True))
        known = ("topic_id", "partition", "offset", "timestamp", "timestamp_type", "key", "value", "headers", "payload_key_id")
        ordered = [tuple(row[known.index(name)] if name in known else None for name in by_name) for row in rows]
        return spark.createDataFrame(ordered, RECORD)

    return make


def event(**changes: Any) -> bytes:
    first = next(iter(replayed.events(datetime(2013, 6, 1), datetime(2013, 6, 2))))
    fields = json.loads(first.value or b"") | {"event_time": "2013-06-01T11:59:30Z"} | changes
    return json.dumps(fields, ensure_ascii=False).encode()


def test_each_record_goes_to_its_topic_with_the_place_it_came_from(
    lane: FastLane, catalog: Catalog, reference_workspace: Workspace, records: Callable[..., DataFrame]
) -> None:
    spec = live_tables(reference_workspace, catalog)["flights"]
    values = [
        event(),
        event().replace(b'"carrier"', b'"\\u0063arrier"'),  # an escape: proven the long way
        b"\xff\xfe",
        None,
        event(event="vanished"),
        event(event_time="2013-05-01T00:00:00Z"),
        event(event_time="2013-06-01T23:00:00Z"),
        event(carrier="??"),
    ]
    rows = lane.messages(spec, lane.rows(spec, records(*values), lane.references(spec))).collect()
    assert {row["topic"] for row in rows} == {"flights.live", "flights.dlq"}
    content = {json.loads(row["value"])["_offset"]: (row["topic"], row["key"], json.loads(row["value"])) for row in rows}
    assert sorted(content) == list(range(len(values)))
    topic, key, first = content[0]
    assert topic == "flights.live"
    assert json.loads(key) == [first["flight_id"]]
    assert (first["event_time"], first["_timestamp"]) == ("2013-06-01T11:59:30.000000Z", "2013-06-01T12:00:00.000000Z")
    assert (first["_topic_id"], first["_partition"]) == ("tid", 1)
    assert first["carrier_name"]
    assert first["latitude"] > 0
    assert content[1][0] == "flights.live"
    reasons = {offset: letter["reasons"] for offset, (topic, _, letter) in content.items() if topic == "flights.dlq"}
    assert reasons[2] == ["parse: not UTF-8"]
    assert reasons[3] == ["parse: tombstone"]
    assert reasons[5] == ["late: event_time is more than 6 hours old"]
    assert reasons[6] == ["future: event_time is more than 5 minutes ahead"]
    assert {4} <= set(reasons)
    assert base64.b64decode(content[2][2]["value"]) == b"\xff\xfe"


def _grouping(events: Annotated[DataFrame, Silver("flight_events")]) -> DataFrame:
    return events.groupBy("_record", "flight_id", "event_time").count()


def _filtering(events: Annotated[DataFrame, Silver("flight_events")]) -> DataFrame:
    return events.where("delay > 0")


def _inner(
    events: Annotated[DataFrame, Silver("flight_events")], airlines: Annotated[DataFrame, Reference("airlines")]
) -> DataFrame:
    return events.join(airlines, "carrier")


def _python(events: Annotated[DataFrame, Silver("flight_events")]) -> DataFrame:
    return events.withColumn("loud", F.udf(str.upper)("flight_id"))


def _textual(events: Annotated[DataFrame, Silver("flight_events")]) -> DataFrame:
    return events.select("_record", "flight_id", F.col("event_time").cast("string"))


def _keyless(events: Annotated[DataFrame, Silver("flight_events")]) -> DataFrame:
    return events.select("_record", "event_time")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_grouping, "uses Aggregate"),
        (_filtering, "uses Filter"),
        (_inner, "a join that is not a left join"),
        (_python, "a Python function"),
        (_textual, "sequence_by names event_time, a string"),
        (_keyless, "does not select flight_id"),
    ],
)
def test_what_is_not_row_wise_is_refused_by_name(
    lane: FastLane, records: Callable[..., DataFrame], function: Callable[..., DataFrame], words: str
) -> None:
    spec = live("flights", keys=["flight_id"], sequence_by="event_time")(function)
    with pytest.raises(DeclarationError, match=rf"live\.flights:? .*{words}"):
        lane.rows(spec, records(event()), lane.references(spec))


def test_reference_data_that_cannot_be_read_leaves_the_query_running(lane: FastLane, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = lane._runs
    query = run.query = Mock()
    run.state, run.references = "running", {}
    said = cast(Mock, lane._control).say
    away = Mock(side_effect=DeclarationError("reference.airlines: its function fails: no route"))
    monkeypatch.setattr(lane, "references", away)
    monkeypatch.setattr(lane, "_looked_at", -1e9)
    lane._refresh()
    assert not query.stop.called
    assert run.state == "running"
    assert said.call_args.args == (
        "live.flights",
        "running",
        "It goes on with the reference data that it has: reference.airlines: its function fails: no route",
    )
    monkeypatch.setattr(lane, "references", lambda spec: {})
    monkeypatch.setattr(lane, "_looked_at", -1e9)
    lane._refresh()
    assert said.call_args.args == ("live.flights", "running", "")


def test_slots_are_counted_before_the_driver_starts(catalog: Catalog, reference_workspace: Workspace) -> None:
    tables = live_tables(reference_workspace, catalog)
    assert slots(Settings.model_validate({"kafka": {"partitions": 4}}), catalog, tables) == 5
    with pytest.raises(DeclarationError, match=r"4 partitions.*TIDEMILL_FAST__CORES=4"):
        slots(Settings.model_validate({"kafka": {"partitions": 4}, "fast": {"cores": 3}}), catalog, tables)
    counted = with_windows(tables)  # Real-time queries would leave nothing to a query of windows
    assert slots(Settings.model_validate({"kafka": {"partitions": 4}}), catalog, counted) == 6
    assert slots(Settings.model_validate({"kafka": {"partitions": 4}, "fast": {"cores": 5}}), catalog, counted) == 5
    with pytest.raises(DeclarationError, match=r"windows need one more; fast.cores is 4.*TIDEMILL_FAST__CORES=5"):
        slots(Settings.model_validate({"kafka": {"partitions": 4}, "fast": {"cores": 4}}), catalog, counted)
