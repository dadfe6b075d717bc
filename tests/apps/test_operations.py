from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from apps.operations import data
from apps.operations.page import views
from lakehouse.serving.operations import FeedStatus, LaneStatus, ServerStatus, Snapshot, Status, TableStatus
from lakehouse.telemetry.history import COLUMNS
from lakehouse.telemetry.status import BatchStatus, ValidationStatus

AT = datetime(2013, 6, 1, 12, 5, tzinfo=UTC)


def table(layer: Any, **changes: Any) -> TableStatus:
    known: dict[str, Any] = {
        "layer": layer,
        "description": "",
        "state": "running",
        "sentence": "",
        "rows": 10,
        "version": 1,
        "rows_per_second": 2.0,
        "lag": 3,
        "last_batch": None,
        "pass_rate": None,
        "validation": None,
    }
    return TableStatus(**(known | changes))


def status(tables: dict[str, TableStatus] | None = None, **changes: Any) -> Status:
    known: dict[str, Any] = {
        "at": AT,
        "workspace": "tides",
        "lane": LaneStatus(state="running", sentence="It runs."),
        "tables": tables or {},
        "feeds": {"tides": FeedStatus(read=100, silver=80, dead_letters=10, duplicates=5, in_flight=25, reasons={"late": 10})},
        "undeclared_fields": {},
        "servers": {"kafka": ServerStatus(state="running", address="127.0.0.1:9", pid=7, log=None)},
        "notes": [],
    }
    return Status(**(known | changes))


def test_the_strip_shows_what_is_in_each_layer_and_what_leaves_the_way() -> None:
    found = status({"bronze.tides": table("bronze", lag=20), "silver.a": table("silver"), "silver.b": table("silver", lag=900)})
    kafka, bronze, silver, gold = data.stages(found)
    assert (kafka.headline, kafka.unit) == ("120", "records")
    assert (bronze.headline, silver.headline, gold.headline) == ("2.0", "4.0", "0")
    assert {figure.label: figure.value for figure in silver.figures} == {"Rows": "20", "Lag": "900 rows", "Last batch took": "–"}
    dead, twice = data.branches(found)
    assert (dead.headline, dead.note) == ("10", "10.53 % of the judged records")
    assert twice.headline == "5"
    assert [part.records for part in data.account(found)] == [80, 10, 5, 25]


def test_a_figure_that_is_not_known_makes_its_sum_unknown_rather_than_too_small() -> None:
    nobody = FeedStatus(read=None, silver=None, dead_letters=None, duplicates=None, in_flight=None, reasons={})
    found = status({"silver.a": table("silver", rows=None, lag=None, rows_per_second=None), "silver.b": table("silver")})
    found = found.model_copy(update={"feeds": {"known": found.feeds["tides"], "unknown": nobody}})
    assert data.stages(found)[0].headline == "–"
    silver = data.stages(found)[2]
    assert silver.headline == "–"
    assert silver.figures[0].value == "–"
    assert {part.records for part in data.account(found)} == {None}
    assert data.branches(found)[0].note == "of the judged records"


def test_what_stopped_comes_before_what_pauses_before_what_is_not_known() -> None:
    tables = {
        "gold.a": table("gold", state="paused", sentence="Kafka is away."),
        "gold.b": table("gold", state="stopped", sentence="Its suite fails."),
        "gold.c": table("gold", state="idle", sentence="It never ran."),
    }
    alerts = data.alerts(status(tables, notes=["valkey: not running."]))
    assert [(alert.kind, alert.sentence) for alert in alerts] == [
        ("bad", "Its suite fails."),
        ("warn", "Kafka is away."),
        ("warn", "valkey: not running."),
    ]


def test_tables_stand_by_layer_in_the_order_of_the_pipeline_with_reference_data_last() -> None:
    batch = BatchStatus(at=AT, duration_ms=1_500, rows_read=1, rows_written=1)
    tables = {
        "bronze.tides": table("bronze"),
        "reference.gauges": table("reference", state="loaded", last_batch=batch),
        "silver.tides": table("silver", pass_rate=0.875, last_batch=batch, state="stopped", sentence="It broke."),
        "gold.levels": table("gold"),
    }
    rows = data.table_rows(status(tables))
    assert [row.group for row in rows] == ["Bronze", "Silver", "Gold", "Reference"]
    silver = rows[1]
    assert silver.alarm == "It broke."
    assert [cell.text for cell in silver.cells] == ["tides", "", "10", "2.0", "3", "", "87.50 %"]
    assert (silver.cells[5].at, silver.cells[5].note) == (AT, "took 1.5 s")
    assert rows[3].cells[5].note == ""


def test_the_lane_that_does_not_run_is_said_not_to_run() -> None:
    stopped = LaneStatus(state="stopped", sentence="The lane never ran here.")
    shown, sentence = data.lane(status(lane=stopped))
    assert (shown.word, sentence) == ("Not running", "The lane never ran here.")
    assert data.lane(status(lane=LaneStatus(state="unknown", sentence="?")))[0].word == "Unknown"


def test_validations_lead_to_the_data_docs_once_there_are_some() -> None:
    passed = ValidationStatus(at=AT, version=7, passed=True, expectations=6, failed=0)
    failed = ValidationStatus(at=AT, version=7, passed=False, expectations=6, failed=2)
    found = status({"silver.a": table("silver", validation=passed), "silver.b": table("silver", validation=failed)})
    rows = data.quality_rows(found, "")
    assert [row.cells[1].state.word for row in rows if row.cells[1].state] == ["6 of 6 hold", "4 of 6 hold"]
    snapshot = Snapshot(found, pd.DataFrame(columns=COLUMNS), docs=True, read_at=0)
    assert 'href="./data-docs/index.html"' in views(snapshot)["quality"]
    assert "href" not in views(Snapshot(found, snapshot.history, docs=False, read_at=0))["quality"]


def test_every_section_has_something_to_say_before_anything_ran() -> None:
    empty = status(feeds={}, servers={})
    servers = {"kafka": ServerStatus(state="stopped", address=None, pid=None, log=None)}
    shown = views(Snapshot(empty.model_copy(update={"servers": servers}), pd.DataFrame(columns=COLUMNS), docs=False, read_at=0))
    assert all(shown.values())
    assert "No dead letters." in shown["reasons"]
    assert "Not running" in shown["servers"]


def test_charts_show_the_time_of_this_machine() -> None:
    history = pd.DataFrame({"at": pd.to_datetime(["2013-06-01 12:00"]), "layer": ["gold"], "lag": [1]})
    offset = datetime(2013, 6, 1, 12, tzinfo=UTC).astimezone().utcoffset()
    now_offset = datetime.now().astimezone().utcoffset()
    moved = data.local_time(history)["at"][0] - pd.Timestamp("2013-06-01 12:00")
    assert moved in (offset, now_offset, timedelta(0))
