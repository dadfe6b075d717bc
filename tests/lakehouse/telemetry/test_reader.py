"""The status of a small feed, on real servers: tables, topic and control database are filled by the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable, write_deltalake

from lakehouse.catalog import Catalog
from lakehouse.clients import delta_rs
from lakehouse.control import Control
from lakehouse.errors import SourceError
from lakehouse.lease import Lease
from lakehouse.settings import Settings
from lakehouse.sources.kafka import delete_topic, ensure_topic, topic_id
from lakehouse.telemetry.counts import ABSENT, Counts
from lakehouse.telemetry.reader import StatusReader, _result
from lakehouse.telemetry.status import Status
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

Write = Callable[[str, int], None]


@pytest.fixture
def catalog(tides: Workspace) -> Catalog:
    return Catalog.load(tides)


@pytest.fixture
def settings(tides: Workspace) -> Settings:
    return Settings.load(tides)


@pytest.fixture
def control(settings: Settings) -> Iterator[Control]:
    control = Control(settings.require("postgres"))
    yield control
    for table in ("batch", "table_state", "validated"):
        control.run(f"""DELETE FROM tidemill.{table} WHERE "table" IN ('bronze.tides', 'silver.tides', 'gold.levels')""")
    control.run("DELETE FROM tidemill.undeclared_field WHERE feed = 'tides'")
    control.close()


@pytest.fixture
def write(settings: Settings) -> Iterator[Write]:
    def append(name: str, rows: int) -> None:
        uri = f"s3://{settings.s3.bucket}/{name.replace('.', '/')}"
        names.add(uri)
        write_deltalake(uri, pa.table({"n": list(range(rows))}), mode="append", storage_options=delta_rs(settings))

    names: set[str] = set()
    yield append
    for uri in names:
        DeltaTable(uri, storage_options=delta_rs(settings)).delete()


@pytest.fixture
def topic(settings: Settings, catalog: Catalog) -> Iterator[str]:
    source = catalog["bronze.tides"].source
    assert source is not None
    ensure_topic(settings, source)
    producer = Producer({"bootstrap.servers": settings.require("kafka")})
    for number in range(10):
        producer.produce("tides", b"{}", partition=number % 2)
    assert producer.flush(20) == 0
    yield str(topic_id(settings, "tides"))
    delete_topic(settings, "tides")


def test_before_anything_ran_all_is_nought_and_says_so(
    tides: Workspace, catalog: Catalog, settings: Settings, control: Control
) -> None:
    status = StatusReader(tides, catalog).read(settings, control)
    assert status.notes == []
    assert {server.state for server in status.servers.values()} == {"running"}
    feed = status.feeds["tides"]
    assert (feed.read, feed.silver, feed.dead_letters, feed.duplicates, feed.in_flight) == (0, 0, 0, 0, 0)
    assert {table.state for table in status.tables.values()} <= {"idle", "waiting"}
    assert status.tables["gold.levels"].last_batch is None


def test_each_figure_of_the_account_is_counted_where_it_is(
    tides: Workspace, catalog: Catalog, settings: Settings, control: Control, write: Write, topic: str
) -> None:
    write("bronze.tides", 8)
    write("silver.tides", 4)
    write("dead_letters.tides", 2)
    write("duplicates.tides", 1)
    control.record_batch("bronze.tides", 0, 0, duration_ms=1_000, rows_read=8, rows_written=8, detail={"lag": "2"})
    # Partition 1 was last judged long before: its position is in another batch than the newest.
    control.record_batch(
        "silver.tides", 0, 0, duration_ms=900, rows_read=3, rows_written=3, detail={"positions": {topic: {"1": 3}}}
    )
    control.record_batch(
        "silver.tides",
        0,
        1,
        duration_ms=1_000,
        rows_read=4,
        rows_written=1,
        dead_letters=2,
        duplicates=1,
        detail={"positions": {topic: {"0": 4}, "an older topic": {"0": 99}}, "reasons": {"key: gauge is missing": 2, "late": 1}},
    )
    control.set_state("gold.levels", "stopped", "Its function fails.")
    control.run("INSERT INTO tidemill.undeclared_field VALUES ('tides', 0, 1, 'colour', 3), ('tides', 0, 0, 'colour', 1)")
    control.run(
        'INSERT INTO tidemill.validated ("table", version, passed, expectations, failed) VALUES (%s, 3, false, 6, 1)',
        ["silver.tides"],
    )
    with Lease(control, seconds=5) as lease:
        lease.acquire("tidemill run")
        status = StatusReader(tides, catalog).read(settings, control)
    assert StatusReader(tides, catalog).read(settings, control).tables["bronze.tides"].rows_per_second == 0
    feed = status.feeds["tides"]
    assert (feed.read, feed.silver, feed.dead_letters, feed.duplicates, feed.in_flight) == (8, 4, 2, 1, 3)
    assert feed.reasons == {"key: gauge is missing": 2, "late": 1}
    assert status.undeclared_fields == {"tides": {"colour": 4}}
    bronze, silver, gold = (status.tables[name] for name in ("bronze.tides", "silver.tides", "gold.levels"))
    assert (bronze.lag, silver.lag, gold.lag) == (2, 1, 4)
    assert silver.pass_rate == pytest.approx(5 / 7)
    assert bronze.rows_per_second is not None
    assert 0.1 < bronze.rows_per_second <= 8
    assert (gold.state, gold.sentence) == ("stopped", "Its function fails.")
    assert silver.last_batch is not None
    assert (silver.last_batch.duration_ms, silver.last_batch.rows_read) == (1_000, 4)
    assert silver.validation is not None
    assert (silver.validation.passed, silver.validation.failed) == (False, 1)
    assert Status.model_validate_json(status.model_dump_json()) == status


def test_a_topic_made_again_begins_with_nothing_judged(
    tides: Workspace, catalog: Catalog, settings: Settings, control: Control, topic: str
) -> None:
    control.record_batch(
        "silver.tides", 0, 0, duration_ms=1, rows_read=9, rows_written=9, detail={"positions": {"gone": {"0": 9, "1": 9}}}
    )
    assert StatusReader(tides, catalog).read(settings, control).feeds["tides"].in_flight == 10


def test_a_partition_that_was_silent_for_hundreds_of_batches_is_not_in_flight(
    tides: Workspace, catalog: Catalog, settings: Settings, control: Control, topic: str
) -> None:
    quiet = {"positions": {topic: {"0": 5}}}
    control.record_batch(
        "silver.tides", 0, 0, duration_ms=1, rows_read=5, rows_written=5, detail={"positions": {topic: {"1": 5}}}
    )
    control.run(
        """INSERT INTO tidemill.batch ("table", epoch, batch_id, duration_ms, rows_read, rows_written, detail)
        SELECT 'silver.tides', 0, n, 1, 0, 0, %s::jsonb FROM generate_series(1, 300) AS n""",
        [str(quiet).replace("'", '"')],
    )
    assert StatusReader(tides, catalog).read(settings, control).feeds["tides"].in_flight == 0


def test_rows_are_counted_again_only_when_a_table_has_a_new_version(settings: Settings, write: Write) -> None:
    counts = Counts()
    assert counts.read(settings, ["gold.levels_of_nobody"]) == {"gold.levels_of_nobody": ABSENT}
    write("gold.counted", 3)
    first = counts.read(settings, ["gold.counted"])["gold.counted"]
    again = counts.read(settings, ["gold.counted"])["gold.counted"]
    assert first is not None
    assert first.rows == 3
    assert again is first
    write("gold.counted", 4)
    after = counts.read(settings, ["gold.counted"])["gold.counted"]
    assert after is not None
    assert (after.rows, after.version) == (7, first.version + 1)


def test_the_holder_of_the_lease_is_named(tides: Workspace, catalog: Catalog, settings: Settings, control: Control) -> None:
    with Lease(control, seconds=5) as lease:
        lease.acquire("tidemill run")
        control.set_state("gold.levels", "running")
        status = StatusReader(tides, catalog).read(settings, control)
        assert status.lane.holder == "tidemill run"
        assert status.tables["gold.levels"].state == "running"
    assert StatusReader(tides, catalog).read(settings, control).tables["gold.levels"].state == "idle"


def test_with_all_servers_away_the_figures_are_empty_and_the_sentences_say_what_to_do(
    tides: Workspace, catalog: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "tidemill.toml").touch()
    nothing = Workspace(tmp_path, tides.config)
    began = time.monotonic()
    status = StatusReader(nothing, catalog).read(Settings.load(nothing), None)
    assert time.monotonic() - began < 2
    assert status.lane.state == "unknown"
    assert {server.state for server in status.servers.values()} == {"stopped"}
    assert "`tidemill up`" in status.notes[0]
    feed = status.feeds["tides"]
    assert (feed.read, feed.silver, feed.dead_letters, feed.duplicates, feed.in_flight) == (None,) * 5
    assert {table.state for table in status.tables.values()} == {"unknown"}
    assert {table.lag for table in status.tables.values()} == {None}


def test_a_part_that_fails_is_a_sentence() -> None:
    failed: Future[int] = Future()
    failed.set_exception(SourceError("Kafka does not answer."))
    notes: list[str] = []
    assert _result(failed, notes) is None
    assert notes == ["Kafka does not answer."]
