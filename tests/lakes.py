"""A lake of its own for each test: bucket and topics on the shared servers, and the control database emptied."""

from __future__ import annotations

import textwrap
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from pyspark.sql import DataFrame, SparkSession

from lakehouse.account import FeedAccount, Violation, account, verify
from lakehouse.catalog import Catalog
from lakehouse.clients import s3a
from lakehouse.control import Control
from lakehouse.lanes.context import Context
from lakehouse.lanes.epoch import Epochs
from lakehouse.lanes.lake import LakeLane
from lakehouse.lease import Lease
from lakehouse.settings import Settings
from lakehouse.sources.replay import Event, publish
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

CONTROL_TABLES = ("lease", "batch", "table_state", "request", "undeclared_field", "validated")
DEADLINE_SECONDS = 480
CLOCK_MS = 1_357_000_000_000
"""The feed clock of made-up records: 2013-01-01T00:26:40Z."""

BRONZE = """
from lakehouse.catalog import Kafka, bronze
{feed} = bronze("{feed}", source=Kafka(topic="{topic}", partitions=2))
"""
SILVER = """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Bronze, Json, silver

@silver("{feed}", keys=["id"], parse=Json("id STRING, at TIMESTAMP, kind STRING, value DOUBLE, count INT"), event_time="at",
        watermark="1 day", future="1 hour", suite={suite})
def {feed}(records: Annotated[DataFrame, Bronze("{feed}")]) -> DataFrame:
    return records.select("_record", "id", "at", "kind", "value", "count")
"""
GOLD = """
from typing import Annotated
from pyspark.sql import DataFrame, functions as F
from lakehouse.catalog import Silver, Trunc, gold

@gold("{feed}_by_hour", keys=["kind", "hour"])
def {feed}_by_hour(rows: Annotated[DataFrame, Silver("{feed}", hour=Trunc("at", "hour"))]) -> DataFrame:
    grouped = rows.groupBy("kind", F.date_trunc("hour", "at").alias("hour"))
    return grouped.agg(F.count("*").alias("n"), F.sum("count").alias("total")).select("kind", "hour", "n", "total")
"""
SUITE = """
from great_expectations import expectations as gxe
from lakehouse.quality import Suite, drop, fail, warn
suite = Suite([
    drop(gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["a", "b", "c"])),
    warn(gxe.ExpectColumnValuesToBeBetween(column="value", min_value=0, max_value=100)),
    {more}
])
"""


@dataclass
class Lake:
    """One test's workspace, and what tests do with it."""

    workspace: Workspace
    settings: Settings
    spark: SparkSession
    control: Control
    feed: str = "readings"
    topic: str = ""
    set_aside: set[str] = field(default_factory=set)
    accept_loss: set[str] = field(default_factory=set)

    @property
    def catalog(self) -> Catalog:
        return Catalog.load(self.workspace)

    def context(self) -> Context:
        objects = Objects(self.settings)
        objects.ensure_bucket()
        lease = Lease(self.control, seconds=30)
        lease.acquire("test")
        return Context(
            workspace=self.workspace,
            settings=self.settings,
            catalog=self.catalog,
            spark=self.spark,
            control=self.control,
            lease=lease,
            objects=objects,
            epochs=Epochs(objects),
            set_aside=set(self.set_aside),
            accept_loss=set(self.accept_loss),
        )

    def run_once(self) -> dict[str, str]:
        """Bring all tables up to date; returns those that stopped, with the sentence."""
        context = self.context()
        try:
            lane = LakeLane(context)
            watchdog = threading.Timer(DEADLINE_SECONDS, lane.stop)
            watchdog.start()
            lane.run_once()
            assert not watchdog.finished.is_set(), f"not through after {DEADLINE_SECONDS} s: {self.control.states()}"
            watchdog.cancel()
            return lane.stopped_tables
        finally:
            context.lease.release()

    def rebuild(self, table: str) -> int:
        context = self.context()
        try:
            return LakeLane(context).rebuild(table)
        finally:
            context.lease.release()

    def publish(self, values: Iterable[bytes | None], clock_ms: int = CLOCK_MS) -> int:
        """Publish records; returns how many the broker has confirmed."""
        source = self.catalog[f"bronze.{self.feed}"].source
        assert source is not None
        events = [Event(clock_ms, str(n).encode(), value) for n, value in enumerate(values)]
        return publish(self.settings, source, events).acked

    def write(self, layer: str, text: str, name: str | None = None) -> None:
        """Write a table's file, or with layer ``expectations/silver`` its suite."""
        folder = self.workspace.root / layer
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name or self.feed}.py").write_text(textwrap.dedent(text))

    def table(self, name: str) -> DataFrame:
        return self.spark.read.format("delta").load(f"{self.settings.lake_uri}/{name.replace('.', '/')}")

    def account(self) -> FeedAccount:
        return account(self.settings, self.catalog, self.control, self.feed)

    def verify(self) -> list[Violation]:
        return verify(self.settings, self.catalog, self.control, self.feed)


@pytest.fixture(scope="session")
def new_lake(
    stack: tuple[Workspace, Settings], spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Lake]]:
    """Make a lake on the shared servers: its own bucket, an empty control database, and its own topic names."""
    _, shared = stack
    controls: list[Control] = []

    def make(workspace: Workspace | None = None, **lake: object) -> Lake:
        name = f"t{uuid.uuid4().hex[:10]}"
        if workspace is None:
            root = tmp_path_factory.mktemp(name)
            (root / "tidemill.toml").write_text(f'[workspace]\nname = "{name}"\n')
            workspace = Workspace.load(root)
        settings = shared.model_copy(
            update={
                "s3": shared.s3.model_copy(update={"bucket": name}),
                "lake": shared.lake.model_copy(update=lake),
            }
        )
        _point_at(spark, settings)
        control = Control(shared.require("postgres"))
        controls.append(control)
        forget_keys(settings)
        control.run("TRUNCATE " + ", ".join(f"tidemill.{table}" for table in CONTROL_TABLES))
        return Lake(workspace, settings, spark, control, topic=f"{name}.readings")

    yield make
    for control in controls:
        control.close()


def forget_keys(settings: Settings) -> None:
    """Drop the keys of another test's workspace, whose master key this one does not have."""
    with psycopg.connect(settings.require("postgres"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS tidemill.workspace_key, tidemill.tenant_key, tidemill.subject_key")


def _point_at(spark: SparkSession, settings: Settings) -> None:
    """Give the one driver of the run the address and the credentials of the object store."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in s3a(settings).items():
        hadoop.set(name.removeprefix("spark.hadoop."), value)


@pytest.fixture
def readings(new_lake: Callable[..., Lake]) -> Lake:
    """A lake with one feed, ``readings``, its suite and a mart."""
    lake = new_lake()
    declare(lake)
    return lake


def declare(lake: Lake, more: str = "", suite: str = '"silver/readings"') -> None:
    """Write the files of the feed ``readings``; ``more`` are further expectations."""
    names = {"feed": lake.feed, "topic": lake.topic, "suite": suite}
    lake.write("bronze", BRONZE.format(**names))
    lake.write("silver", SILVER.format(**names))
    lake.write("gold", GOLD.format(**names), name=f"{lake.feed}_by_hour")
    lake.write("expectations/silver", SUITE.format(more=more))


@pytest.fixture(scope="session")
def declare_feed() -> Callable[..., None]:
    """The function :func:`declare`."""
    return declare
