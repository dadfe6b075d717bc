"""Windows on real servers: a driver that is killed while it counts, and what everybody then sees of the windows."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
import sightings
from live_lanes import running, workspace_of
from sightings import FEED

from lakehouse.catalog import Catalog, Kafka
from lakehouse.control import Control
from lakehouse.errors import TidemillError
from lakehouse.serving.client import subscribe
from lakehouse.serving.hot import hot
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.serving.query import answer
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic
from lakehouse.sources.replay import Event, publish
from lakehouse.telemetry.lane import LiveStatus
from lakehouse.telemetry.reader import StatusReader
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

CLOCK = datetime(2013, 1, 1, 10, 7, tzinfo=UTC)
SPANS = {"1 minute": "1min", "5 minutes": "5min", "60 minutes": "60min"}
SILVER = sightings.FILES["silver/sightings.py"].replace(
    'watermark="1 day", future="1 hour"', 'watermark="1 hour", future="5 minutes"'
)
FILES = sightings.FILES | {
    "tidemill.toml": '[workspace]\nname = "flocks"\n[s3]\nbucket = "flocks"\n',
    "silver/sightings.py": SILVER,
    "live/sightings.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Silver
from lakehouse.livetables import live
from lakehouse.windows import Windows

@live("sightings", keys=["id"], sequence_by="at", windows=Windows(
    by=["bird"],
    spans=["1 minute", "5 minutes", "60 minutes"],
    measures={"n": "count(*)", "mean": "avg(n)", "p50": "approx_percentile(n, 0.5)", "p95": "approx_percentile(n, 0.95)"},
))
def sightings(seen: Annotated[DataFrame, Silver("sightings")]) -> DataFrame:
    return seen.select("_record", "id", "bird", "at", "n")
""",
}


@pytest.fixture
def workspace(stack: tuple[Workspace, Settings], tmp_path: Path) -> Iterator[Workspace]:
    topics = [FEED, f"{FEED}.live", f"{FEED}.dlq", f"{FEED}.windows"]
    with workspace_of(stack, tmp_path, FILES, topics) as workspace:
        yield workspace


def sighting(number: int) -> tuple[Event, dict[str, Any] | None]:
    """Return a record, and the row that windows should count; a tenth of the records are skewed or broken."""
    published = CLOCK + timedelta(milliseconds=200 * number)
    skew = {
        3: timedelta(days=365 * 80),  # clocks that are wrong
        13: timedelta(minutes=6),
        23: timedelta(minutes=-61),
        33: timedelta(days=-365 * 40),
        5: timedelta(minutes=4),  # within what the feed declares
        15: timedelta(minutes=-59),
    }.get(number % 40, timedelta(seconds=-(number % 7)))
    row = {"id": f"s{number}", "bird": ("gull", "tern", None)[number % 3], "at": published + skew, "n": number * 37 % 101}
    good = number % 40 not in (3, 13, 23, 33, 17)
    value = json.dumps({**row, "at": row["at"].isoformat(), "n": -1 if number % 40 == 17 else row["n"]}).encode()
    if number % 40 == 33:
        value = value.replace(b'"n"', b"n") if number % 80 == 33 else value
    return Event(round(published.timestamp() * 1000), str(number).encode(), value), row if good else None


def expected(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame["bird"] = frame.bird.fillna("nobody")
    parts = []
    for span, frequency in SPANS.items():
        grouped = frame.assign(span=span, start=frame["at"].dt.floor(frequency)).groupby(["span", "start", "bird"])
        low, high = (grouped.n.agg(lambda x, q=q: np.quantile(x, q, method="inverted_cdf")) for q in (0.5, 0.95))
        part = {"n": grouped.n.size(), "mean": grouped.n.mean(), "p50": low, "p95": high, "last_event": grouped["at"].max()}
        parts.append(pd.DataFrame(part).reset_index())
    return pd.concat(parts).sort_values(["span", "start", "bird"]).reset_index(drop=True)


def held(settings: Settings) -> pd.DataFrame:
    try:
        with psycopg.connect(settings.require("postgres"), connect_timeout=2) as connection:
            found = connection.execute(
                f"SELECT span, window_start, coalesce(bird, 'nobody'), n, mean, p50, p95, last_event FROM hot.{FEED}_windows"
            ).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.OperationalError):
        found = []
    frame = pd.DataFrame(found, columns=["span", "start", "bird", "n", "mean", "p50", "p95", "last_event"])
    return frame.sort_values(["span", "start", "bird"]).reset_index(drop=True)


def counted(settings: Settings) -> int:
    frame = held(settings)
    return int(frame[frame.span == "60 minutes"].n.sum())


def wait_until(settings: Settings, count: int, process: Any) -> None:
    deadline = time.monotonic() + 240
    while (now := counted(settings)) < count:
        assert time.monotonic() < deadline, f"{now} of {count} rows are in windows"
        assert process.poll() is None, "the lane ended"
        time.sleep(0.2)


@pytest.mark.timeout(900)
def test_a_driver_killed_while_it_counts_counts_each_record_once(workspace: Workspace) -> None:
    settings, source = Settings.load(workspace), Kafka(FEED, partitions=2)
    total = 2_000
    made = [sighting(number) for number in range(total)]
    good = [row for _, row in made if row is not None]
    ensure_topic(settings, source)

    def produce() -> None:
        for start in range(20, total, 20):
            assert publish(settings, source, [event for event, _ in made[start : start + 20]]).acked == 20
            time.sleep(0.15)

    with running(workspace, "fast") as first:
        publish(settings, source, [event for event, _ in made[:20]])
        wait_until(settings, 1, first)
        producing = threading.Thread(target=produce)
        producing.start()
        wait_until(settings, total // 5, first)
        os.killpg(first.pid, signal.SIGKILL)
        assert producing.is_alive(), "nothing was in flight"
        assert counted(settings) < len(good)
    producing.join()
    with running(workspace, "fast") as second:
        wait_until(settings, len(good), second)
        fresh = status_of(workspace, settings)
        assert (fresh.state, fresh.sentence, fresh.sink) == ("running", "", "running")
        assert fresh.behind_seconds is not None
        assert fresh.behind_seconds <= 1  # the last records are in no window
        # A producer whose own clock is a century ahead: the gate goes by that clock, and finds nothing odd.
        ahead = datetime(2113, 1, 1, tzinfo=UTC)
        odd = json.dumps({"id": "odd", "bird": "gull", "at": ahead.isoformat(), "n": 1}).encode()
        publish(settings, source, [Event(round(ahead.timestamp() * 1000), b"odd", odd)])
        time.sleep(5)  # batches in which it could have moved the watermark
        late, row = sighting(total)
        publish(settings, source, [late])
        assert row is not None
        good.append(row)
        wait_until(settings, len(good), second)
        second.send_signal(signal.SIGTERM)
        second.wait(60)
    columns = {"start": "datetime64[ns, UTC]", "last_event": "datetime64[ns, UTC]"}
    pd.testing.assert_frame_equal(held(settings).astype(columns), expected(good).astype(columns), check_dtype=False)
    result = answer(
        f"SELECT sum(n) FROM live.{FEED}_windows WHERE span = '1 minute' AND window_start >= '2013-01-01'",
        [f"live.{FEED}_windows"],
        hot(settings),
    )
    assert result.rows() == [(len(good),)]
    with running(workspace, "push"):
        rows = snapshot(workspace)
    last = expected(good).groupby(["span", "bird"]).last()
    assert {(row["span"], row.get("bird") or "nobody"): (row["n"], row["mean"], row["p95"]) for row in rows} == {
        key: (row["n"], row["mean"], row["p95"]) for key, row in last.iterrows()
    }


def status_of(workspace: Workspace, settings: Settings) -> LiveStatus:
    """Return the status of the windows when it says that they are of just now."""
    deadline = time.monotonic() + 60
    with closing(Control(settings.require("postgres"))) as control:
        while True:
            status = StatusReader(workspace, Catalog.load(workspace)).read(settings, control)
            live = status.live[f"{FEED}_windows"]
            if live.as_of is not None and abs((status.at - live.as_of).total_seconds()) < 5:
                return live
            assert time.monotonic() < deadline, f"as of {live.as_of}"
            time.sleep(0.5)


def snapshot(workspace: Workspace) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(TidemillError, OSError):
            change = next(subscribe(Endpoint.of(workspace), f"{FEED}_windows", snapshot=True))
            assert change.kind == "snapshot"
            return list(change.rows)
        time.sleep(0.5)
    raise AssertionError("the push service does not answer")
