"""What windows make of records, as a batch: the same frame that runs in the stream, against pandas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.catalog import Catalog
from lakehouse.control import Control
from lakehouse.deadletter.envelope import RECORD
from lakehouse.errors import DeclarationError
from lakehouse.lanes.fast import FastLane
from lakehouse.lanes.windows import Freshness, window_messages, windows_of
from lakehouse.livetables import LiveSpec, WindowSpec, live_tables
from lakehouse.replay import flights as replayed
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

Count = Callable[..., DataFrame]
SPANS = {"1 minute": "1min", "5 minutes": "5min", "60 minutes": "60min"}


@pytest.fixture
def flights(reference_workspace: Workspace, catalog: Catalog) -> LiveSpec:
    return live_tables(reference_workspace, catalog)["flights"]


@pytest.fixture
def count(spark: SparkSession, reference_workspace: Workspace, catalog: Catalog, flights: LiveSpec) -> Count:
    lane = FastLane(reference_workspace, Settings(), catalog, {"flights": flights}, spark, cast(Control, Mock()))

    def windows(records: list[tuple[datetime, bytes]], **changes: Any) -> DataFrame:
        assert flights.windows is not None
        spec = WindowSpec.of(replace(flights, windows=replace(flights.windows, **changes)))
        known = {"topic_id": "tid", "partition": 0, "timestamp_type": 0}
        rows = [
            tuple(({**known, "offset": n, "timestamp": at, "value": value}).get(name) for name in RECORD.names)
            for n, (at, value) in enumerate(records)
        ]
        frame = spark.createDataFrame(rows, RECORD)
        return lane.windows(spec, frame, lane.references(flights), "tid").rows

    return windows


@pytest.fixture(scope="module")
def records() -> list[tuple[datetime, bytes]]:
    first, end = datetime(2013, 6, 1), datetime(2013, 6, 2)
    found = [(datetime.fromtimestamp(x.timestamp_ms / 1000, UTC), x.value or b"") for x in replayed.events(first, end)]
    return found[:1_500]


def test_windows_hold_what_pandas_finds_in_the_good_rows(count: Count, records: list[tuple[datetime, bytes]]) -> None:
    at, value = records[700]
    event = json.loads(value)
    skewed = [
        (at, json.dumps(event | {"event": "departed", "delay": 9, "event_time": time}).encode())
        for time in ("2099-01-01T00:00:00Z", "2013-06-05T00:00:00Z", "2013-05-01T00:00:00Z", "1970-01-01T00:00:00Z")
    ]
    years = timedelta(days=365 * 100)  # a producer's own clock, so that the gate finds nothing odd
    ahead = (at + years, json.dumps(event | {"event": "departed", "delay": 9, "event_time": f"{at + years:%FT%TZ}"}).encode())
    found = count([*records, *skewed, ahead, (at, b"{broken")]).toPandas()

    rows = pd.DataFrame([json.loads(value) | {"_timestamp": at} for at, value in records])
    rows = rows[rows.event == "departed"]
    rows["event_time"] = pd.to_datetime(rows.event_time)
    parts = []
    for span, frequency in SPANS.items():
        grouped = rows.assign(window_start=rows.event_time.dt.floor(frequency)).groupby(["window_start", "carrier"])
        delay = grouped.delay
        part = pd.DataFrame(
            {
                "departures": delay.size(),
                "mean_delay": delay.mean(),
                "p50_delay": delay.agg(lambda x: np.quantile(x, 0.5, method="inverted_cdf")),
                "p95_delay": delay.agg(lambda x: np.quantile(x, 0.95, method="inverted_cdf")),
                "last_event": grouped.event_time.max(),
                "_timestamp": grouped._timestamp.max(),
            }
        ).reset_index()
        parts.append(part.assign(span=span, window_end=part.window_start + pd.Timedelta(frequency)))
    expected = pd.concat(parts)
    names = list(expected.columns)
    for name in ("window_start", "window_end", "last_event", "_timestamp"):
        expected[name] = pd.to_datetime(expected[name], utc=True).dt.tz_localize(None).astype("datetime64[ns]")
        found[name] = found[name].astype("datetime64[ns]")
    assert len(expected) > 300
    order = ["span", "window_start", "carrier"]
    mine, theirs = (x[names].sort_values(order).reset_index(drop=True) for x in (found, expected))
    pd.testing.assert_frame_equal(mine, theirs, check_dtype=False)
    assert (found["_offset"] == found.departures).all()


def test_a_message_says_which_window_it_is_and_how_fresh(count: Count, flights: LiveSpec, records: list[Any]) -> None:
    assert flights.windows is not None
    (row, *_) = window_messages(WindowSpec.of(flights), count(records)).collect()
    value = json.loads(row["value"])
    assert row["topic"] == "flights.windows"
    assert json.loads(row["key"])[::2] == [value["span"], value["carrier"]]
    assert value["_topic_id"].startswith("tid/")
    assert value["window_start"] <= value["last_event"] < value["window_end"]
    assert datetime.fromisoformat(value["computed_at"]) > datetime(2026, 1, 1, tzinfo=UTC)
    assert value["_partition"] == 0


def test_another_declaration_is_another_counting(count: Count, records: list[Any]) -> None:
    def name(**changes: Any) -> str:
        (row,) = count(records[:50], **changes).select("_topic_id").distinct().collect()
        return str(row[0])

    plain = name()
    assert plain == name()
    others = {name(where=None), name(measures={"n": "count(*)"}), name(spans=["5 minutes"]), name(by=["carrier", "dest"])}
    assert len(others | {plain}) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"by": ["pilot"]}, r"live\.flights does not select pilot, which its windows need; it has: flight_id, event"),
        ({"measures": {"n": "avg(height)"}}, "its windows fail: .*height"),
        ({"measures": {"n": "delay"}}, "its windows fail: .*delay"),
        ({"where": "vent = 'departed'"}, "its windows fail: .*vent"),
        ({"where": "("}, "its windows fail: "),
    ],
)
def test_what_cannot_be_counted_is_refused(count: Count, records: list[Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        count(records[:1], **changes)


def test_a_record_that_breaks_a_fail_rule_ends_the_windows_too(spark: SparkSession, catalog: Catalog, flights: LiveSpec) -> None:
    def rows(failures: str) -> DataFrame:
        record = f"named_struct('timestamp', now(), 'reasons', cast(null AS array<string>), 'failures', {failures}) AS _record"
        return spark.sql(f"SELECT 'departed' AS event, 'UA' AS carrier, 3 AS delay, now() AS event_time, {record}")

    spec, ingest = WindowSpec.of(flights), catalog.ingest("flights")
    refusal = F.raise_error(F.lit("live.flights_windows stopped: a rule")).cast("string")
    assert windows_of(spec, rows("cast(null AS array<string>)"), ingest, refusal, "t").rows.count() == 3
    with pytest.raises(Exception, match=r"live\.flights_windows stopped: a rule"):
        windows_of(spec, rows("array('rule')"), ingest, refusal, "t").rows.collect()


def test_rows_that_the_watermark_dropped_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(number: int, dropped: int) -> dict[str, Any]:
        operators = [{"numRowsDroppedByWatermark": dropped}]
        return {"batchId": number, "timestamp": f"2026-01-01T00:00:0{number}Z", "stateOperators": operators}

    query, freshness = Mock(recentProgress=[]), Freshness()
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert freshness.look(query) is None
    said = []
    for recent in ([batch(0, 0), batch(1, 3)], [batch(0, 0), batch(1, 3)], [batch(1, 3), batch(2, 4), batch(3, 0)]):
        query.recentProgress = recent
        now += 10
        progress = freshness.look(query)
        assert freshness.look(query) is None
        assert progress is not None
        said.append((progress.as_of[-3:], progress.dropped))
    assert said == [("01Z", 3), ("01Z", 0), ("03Z", 7)]
