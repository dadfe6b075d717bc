"""Open a workspace for the fast lane: its lease, its own driver, and the hot sink beside it."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from lakehouse.catalog import Catalog
from lakehouse.clients import postgres_dsn
from lakehouse.control import Control
from lakehouse.errors import DeclarationError, LeaseHeldError
from lakehouse.interpreter import prepare_to_serve
from lakehouse.lanes.fast import FastLane
from lakehouse.lanes.sink import HotSink
from lakehouse.lanes.slots import slots
from lakehouse.lanes.windows import CONFIGURATION
from lakehouse.lease import FAST, Lease
from lakehouse.livetables import LiveSpec, live_tables, with_windows
from lakehouse.session import build_session
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_DRIVER = {
    **CONFIGURATION,
    # Parser and gate make methods of more than the 8,000 bytes beyond which Java interprets for ever (docs/latency.md).
    "spark.driver.defaultJavaOptions": "-XX:-DontCompileHugeMethods",
}


@dataclass
class FastOwner:
    """The fast lane and a hot sink, side by side until :meth:`stop`."""

    lane: FastLane
    sink: HotSink
    lease: Lease
    holder: str
    _failure: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def take_over(self, waiting: Callable[[str], None]) -> bool:
        """Warm the driver up, and wait for the lease; returns whether this process has it now, and need not stop.

        Args:
            waiting: Told in a sentence who has the lease, when somebody has.
        """
        self.lane.warm_up()
        known = ""
        while not self._stop.wait(_LOOK_SECONDS if known else 0):
            try:
                self.lease.acquire(self.holder)
                return True
            except LeaseHeldError as held:
                if known != str(held):
                    known = str(held)
                    waiting(known)
            except psycopg.OperationalError:  # the control database is away, and with it all who have a lease there
                log.info("The control database is away.", exc_info=True)
                known = "nobody knows"
        return False

    def run(self) -> dict[str, str]:
        """Run both; returns the live tables that stopped, with the reason."""
        prepare_to_serve()
        thread = threading.Thread(target=self._sink, name="hot-sink")
        thread.start()
        try:
            stopped = self.lane.run()
        finally:
            self.stop()
            thread.join()
        if self._failure:
            raise self._failure[0]
        return stopped

    def stop(self) -> None:
        """Ask both to end; safe from a signal handler or another thread."""
        self._stop.set()
        self.lane.stop()
        self.sink.stop()

    def _sink(self) -> None:
        try:
            self.sink.run()
        except BaseException as error:  # the lane without its sink would look well, and nothing would arrive
            self._failure.append(error)
            self.lane.stop()


def declared_tables(workspace: Workspace, catalog: Catalog) -> dict[str, LiveSpec]:
    """Return the live tables of a workspace, and their windows, by name.

    Raises:
        DeclarationError: There are none.
    """
    tables = live_tables(workspace, catalog)
    if not tables:
        raise DeclarationError(f"{workspace.tables / 'live'} declares no live table: copy one from the docs, named like a feed.")
    return with_windows(tables)


def sized(settings: Settings, catalog: Catalog, tables: Mapping[str, LiveSpec]) -> Settings:
    """Return the settings with the fast lane's driver in place of the lake lane's: its memory, and a task slot for each query.

    Raises:
        DeclarationError: The setting ``fast.cores`` allows fewer slots.
    """
    size = {"cores": slots(settings, catalog, tables), "driver_memory": settings.fast.driver_memory}
    return settings.model_copy(update={"lake": settings.lake.model_copy(update=size)})


def fast_driver(workspace: Workspace, settings: Settings, name: str, scratch: str = "spark-fast") -> SparkSession:
    """Start the fast lane's Spark driver.

    Args:
        workspace: Where it keeps its files.
        settings: What :func:`sized` gave.
        name: What it is called.
        scratch: The folder of its files, below the workspace's state.
    """
    return build_session(settings, name, scratch=workspace.state / scratch, extra=_DRIVER)


@contextmanager
def fast_owning(workspace: Workspace, holder: str, *, stand_by: bool = False) -> Iterator[FastOwner]:
    """Take the fast lane's lease, start its driver, and give both back.

    Args:
        workspace: The workspace.
        holder: What this process is.
        stand_by: Leave the lease to whoever has it, until :meth:`FastOwner.take_over`.

    Raises:
        LeaseHeldError: Another process runs the fast lane.
        DeclarationError: There is nothing to run, or too few task slots for it.
    """
    settings, catalog = Settings.load(workspace), Catalog.load(workspace)
    tables = declared_tables(workspace, catalog)
    size = sized(settings, catalog, tables)
    control = Control(postgres_dsn(settings))
    lease = Lease(control, seconds=settings.lake.lease_seconds, name=FAST)
    scratch = f"spark-fast-{os.getpid()}" if stand_by else "spark-fast"  # two drivers may run side by side
    if not stand_by:
        lease.acquire(holder)
    try:
        Objects(settings).ensure_bucket()
        spark = fast_driver(workspace, size, f"tidemill {workspace.name} fast", scratch)
        try:
            lane = FastLane(workspace, settings, catalog, tables, spark, control)
            yield FastOwner(lane, HotSink(settings, tables, control), lease, holder)
        finally:
            spark.stop()
            if stand_by:
                shutil.rmtree(workspace.state / scratch, ignore_errors=True)
    finally:
        lease.release()
        control.close()
