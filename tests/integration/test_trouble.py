"""What goes wrong around the lane, on real servers: expired records, a full disk, and files that pile up."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType
from s3fs import S3FileSystem

from lakehouse.lanes.lake import LakeLane
from lakehouse.lanes.writes import append_once
from lakehouse.settings import Settings
from lakehouse.sources.kafka import admin, end_offsets
from lakehouse.stack import supervisor
from lakehouse.storage.objects import Objects
from lakehouse.storage.warm import Upkeep, ensure_table
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 200
DISK = "512m"


def records(first: int, last: int) -> list[bytes]:
    fields = {"at": "2013-01-01T00:20:00Z", "value": 1.0}
    return [json.dumps({**fields, "id": f"r{n:06}", "kind": "abc"[n % 3], "count": n}).encode() for n in range(first, last)]


def wait_until(true: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def expire(lake: Any) -> int:
    """Let the broker delete all that the topic holds, as its retention would; returns how many partitions held records."""
    held = {partition: end for partition, end in end_offsets(lake.settings, lake.topic).items() if end}
    with admin(lake.settings) as client:
        client.delete_records({TopicPartition(lake.topic, partition): end for partition, end in held.items()})
    return len(held)


def test_expired_records_stop_their_feed_alone_until_the_loss_is_accepted(
    readings: Any, declare_feed: Callable[..., None]
) -> None:
    assert readings.publish(records(0, 10)) == 10
    assert readings.run_once() == {}

    readings.publish(records(10, 30))
    assert expire(readings) == 2
    readings.publish(records(30, 31))  # one partition has a record behind those that expired, the other has none
    other = replace(readings, feed="others", topic=readings.topic.replace("readings", "others"))
    declare_feed(other, suite='"silver/others"')
    other.publish(records(0, 5))
    stopped = readings.run_once()
    assert set(stopped) == {"bronze.readings"}
    assert "--accept-loss readings" in stopped["bronze.readings"]
    assert readings.control.states()["bronze.readings"]["reason"] == stopped["bronze.readings"]
    assert (readings.account().read, other.account().silver) == (10, 5)

    def through(lake: Any) -> int:
        account = lake.account()
        assert (account.silver, account.in_flight) == (account.read, 0)
        assert lake.verify() == []
        return int(account.read)

    readings.accept_loss = {"readings"}
    assert readings.run_once() == {}
    assert (through(readings), through(other)) == (11, 5)
    readings.accept_loss = set()
    readings.publish(records(31, 40))
    assert readings.run_once() == {}
    assert through(readings) == 20


@dataclass
class Disk:
    """A small disk of its own, for an object store that is to run out of room."""

    folder: Path

    def fill(self) -> None:
        """Leave no free byte: the disk becomes as small as what is on it, which may grow in between."""

        def full() -> bool:
            disk = os.statvfs(self.folder)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
            return self._mount(f"remount,size={used}")

        wait_until(full, lambda: os.statvfs(self.folder))

    def make_room(self) -> None:
        assert self._mount(f"remount,size={DISK}")

    def _mount(self, options: str) -> bool:
        return subprocess.run(["mount", "-o", options, str(self.folder)], capture_output=True).returncode == 0

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path) -> Iterator[Disk]:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(folder)]
        tried = subprocess.run(command, capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"no disk can be mounted: {tried.stderr.strip()}")
        try:
            yield cls(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def cramped(
    new_lake: Callable[..., Any], declare_feed: Callable[..., None], tmp_path: Path
) -> Iterator[tuple[Any, Disk, Workspace]]:
    """A lake whose object store has a disk of its own; the other servers are the shared ones."""
    lake = new_lake(max_records_per_batch=500)
    declare_feed(lake)
    shared: Settings = lake.settings
    addresses = {
        "kafka": {"bootstrap_servers": shared.require("kafka")},
        "postgres": {"dsn": shared.require("postgres")},
        "valkey": {"url": shared.require("valkey")},
    }
    store = Workspace(tmp_path, {"workspace": {"name": "cramped"}, "s3": {"bucket": shared.s3.bucket}, **addresses})
    with Disk.mounted(store.state / "data" / "s3") as disk:
        try:
            supervisor.up(store)
            lake.settings = shared.model_copy(update={"s3": Settings.load(store).s3})
            _point_bucket_at(lake)
            yield lake, disk, store
        finally:
            supervisor.down(store)


def _point_bucket_at(lake: Any) -> None:
    """Give the driver another endpoint for this one bucket, and let it fail there at once: its own retries take minutes."""
    s3 = lake.settings.s3
    hadoop = lake.spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in {
        "endpoint": s3.endpoint_url,
        "access.key": s3.access_key,
        "secret.key": s3.secret_key.get_secret_value(),
        "attempts.maximum": "1",
        "retry.limit": "1",
    }.items():
        hadoop.set(f"fs.s3a.bucket.{s3.bucket}.{name}", value)


def test_tables_pause_on_a_full_disk_and_go_on_once_there_is_room(cramped: tuple[Any, Disk, Workspace]) -> None:
    lake, disk, store = cramped
    feed = ("bronze.readings", "silver.readings", "gold.readings_by_hour")

    def states() -> dict[str, str]:
        return {table: row["state"] for table, row in lake.control.states().items()}

    def counted() -> tuple[int, int]:
        return tuple(lake.table("gold.readings_by_hour").selectExpr("sum(n)", "sum(total)").first())

    context = lake.context()
    lane = LakeLane(context)
    running = threading.Thread(target=lane.run)
    lake.publish(records(0, 1000))
    running.start()
    try:
        wait_until(lambda: bool(lake.control.batches("silver.readings")), lake.control.states)
        disk.fill()
        lake.publish(records(1000, 1500))  # so that there is something to do, however fast the lane was
        wait_until(lambda: states()["bronze.readings"] == "paused", lake.control.states)
        assert "stopped" not in states().values()
        assert lake.control.states()["bronze.readings"]["reason"]

        disk.make_room()
        supervisor.up(store)
        wait_until(lambda: counted()[0] == 1500, lake.control.states)
        assert states() == dict.fromkeys(feed, "running")
    finally:
        lane.stop()
        running.join()
        context.lease.release()
    account = lake.account()
    assert (account.read, account.silver, account.in_flight) == (1500, 1500, 0)
    assert lake.verify() == []
    assert counted() == (1500, sum(range(1500)))


def test_many_small_buckets_fit_on_a_small_disk(cramped: tuple[Any, Disk, Workspace]) -> None:
    """Each takes several volumes, all of which together could hold far more than the disk."""
    s3 = cramped[0].settings.s3
    for number in range(6):
        bucket = s3.model_copy(update={"bucket": f"small-{number}"})
        objects = Objects(cramped[0].settings.model_copy(update={"s3": bucket}))
        objects.ensure_bucket()
        objects.write_json("a/small.json", {"number": number})
        assert objects.read_json("a/small.json") == {"number": number}


def test_up_restarts_an_object_store_that_refuses_writes_after_its_disk_was_full(cramped: tuple[Any, Disk, Workspace]) -> None:
    """Of SeaweedFS's eight LevelDBs, each for some folders, those whose journal found no room refuse all writes from then on."""
    lake, disk, store = cramped
    s3 = lake.settings.s3
    files = S3FileSystem(
        key=s3.access_key,
        secret=s3.secret_key.get_secret_value(),
        endpoint_url=s3.endpoint_url,
        config_kwargs={"retries": {"max_attempts": 0}},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    folders = [f"{s3.bucket}/{number}" for number in range(32)]

    def refused(name: str) -> set[str]:
        found = set()
        for folder in folders:
            try:
                files.pipe_file(f"{folder}/{name}", folder.encode())
            except OSError:
                found.add(folder)
        return found

    assert refused("before") == set()
    disk.fill()
    for number in range(20):
        assert refused(f"full {number}")
    disk.make_room()
    assert refused("room")
    supervisor.up(store)
    assert refused("up") == set()
    assert all(files.cat_file(f"{folder}/before") == folder.encode() for folder in folders)


def test_upkeep_bounds_the_files_and_deletes_those_that_no_version_needs(
    new_lake: Callable[..., Any], spark: SparkSession
) -> None:
    lake = new_lake()
    objects = Objects(lake.settings)
    objects.ensure_bucket()
    path = f"{lake.settings.lake_uri}/silver/numbers"
    schema = StructType([StructField("id", LongType()), StructField("text", StringType())])
    ensure_table(spark, path, schema, stats_columns=["id"], retention="24 hours", change_feed=False)

    def new_process() -> Upkeep:
        return Upkeep(spark, path, optimize_every=4, vacuum_every=4)

    one = new_process()

    def commit(number: int, upkeep: Upkeep = one) -> int:
        rows = spark.range(number * 10, number * 10 + 10, numPartitions=1).selectExpr("id", "concat('row ', id) AS text")
        append_once(rows, path, "numbers/0", number)
        upkeep.after_batch(number)
        return len(live())

    def live() -> set[str]:
        return {Path(file).name for file in spark.read.format("delta").load(path).inputFiles()}

    def stored() -> set[str]:
        return {Path(file).name for file in objects.fs.find(path.removeprefix("s3a://")) if "_delta_log" not in file}

    assert [commit(number) for number in range(8)] == [1, 2, 3, 1, 2, 3, 4, 1]
    gone = stored() - live()
    assert len(gone) == 9, "the files of eight commits, and of the first compaction, are kept for a day"

    ensure_table(spark, path, schema, stats_columns=["id"], retention="1 second", change_feed=False)
    time.sleep(2)
    assert [commit(number) for number in range(8, 12)] == [2, 3, 4, 1]
    assert gone.isdisjoint(stored())
    assert live() <= stored()
    rows = spark.read.format("delta").load(path).orderBy("id").collect()
    assert [(row["id"], row["text"]) for row in rows] == [(n, f"row {n}") for n in range(120)]

    files = [commit(number, new_process()) for number in range(12, 20)]
    assert 1 in files, "processes that end after one commit compact the table too"
    assert max(files) <= 5


def test_compaction_while_a_lane_runs_gives_no_record_twice(
    new_lake: Callable[..., Any], declare_feed: Callable[..., None]
) -> None:
    lake = new_lake(optimize_every=2, max_records_per_batch=20)
    declare_feed(lake)
    for start in (0, 40):  # bronze has two commits or more, and is compacted, between two readings of silver
        lake.publish(records(start, start + 40))
        assert lake.run_once() == {}
    history = lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.settings.lake_uri}/bronze/readings`")
    assert history.where("operation = 'OPTIMIZE'").count() >= 2
    account = lake.account()
    assert (account.read, account.silver, account.duplicates, account.in_flight) == (80, 80, 0, 0)
    assert lake.verify() == []
