"""The picture of all events, from a real hot store and a real push service: each row once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import psycopg
import pytest
from pushes import Lane, pushing, row

from lakehouse.catalog import Catalog, Kafka
from lakehouse.livetables import live_tables
from lakehouse.serving.density.watch import Picture, Watch, unwatch, watch
from lakehouse.settings import Settings
from lakehouse.sources.kafka import delete_topic, ensure_topic
from lakehouse.storage.hot import HotTable
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def watched(gulls: Workspace) -> Iterator[Watch]:
    yield watch(gulls, "gulls")
    unwatch(gulls)


def land(workspace: Workspace, numbers: range) -> None:
    """Write rows to the hot store, as the hot sink does."""
    rows = [orjson.loads(row(n)) | {"_timestamp": datetime(2013, 1, 1, tzinfo=UTC)} for n in numbers]
    spec = live_tables(workspace, Catalog.load(workspace))["gulls"]
    columns = {"id": "text", "at": "timestamptz", "n": "integer"}
    with psycopg.connect(Settings.load(workspace).require("postgres"), autocommit=True) as connection:
        table = HotTable(connection, spec, columns)
        table.prepare()
        table.land(rows)


def until(watched: Watch, events: int) -> Picture:
    deadline = time.monotonic() + 60
    while (picture := watched.picture()).events != events:
        assert time.monotonic() < deadline, picture
        assert picture.events < events, "something was counted twice"
        time.sleep(0.1)
    return picture


def test_what_is_kept_and_what_is_pushed_is_counted_once(gulls: Workspace, request: pytest.FixtureRequest) -> None:
    lane = Lane(Settings.load(gulls))
    land(gulls, range(700))  # the hot store has the first ones, the push service the last ones, and both what is between
    lane.write(range(500, 1_300))
    watched: Watch = request.getfixturevalue("watched")
    until(watched, 700)
    deadline = time.monotonic() + 30
    while "No push service is known" not in watched.picture().trouble:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pushing(gulls):
        picture = until(watched, 1_300)
        assert (picture.trouble, picture.warning, picture.unknown, picture.column) == ("", "", 0, "n")
        assert watched.picture() is picture
        assert sum(picture.views["hour"].counts) == sum(picture.views["moment"].counts) == 1_300
        lane.write(range(1_250, 1_301))
        until(watched, 1_301)
    assert watch(gulls, "gulls") is watched
    unwatch(gulls)
    deadline = time.monotonic() + 30
    while not watched.ended:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_gap_is_said_and_what_the_hot_store_has_of_it_is_counted(gulls: Workspace, watched: Watch) -> None:
    settings = Settings.load(gulls)
    lane = Lane(settings)
    lane.write(range(40))
    with pushing(gulls):
        until(watched, 40)
        land(gulls, range(60))  # twenty more than the topic ever had
        delete_topic(settings, "gulls.live")
        ensure_topic(settings, Kafka("gulls.live", partitions=2))
        lane.write(range(60, 70))
        assert "gap" in until(watched, 70).warning
