"""What the queries of a lane share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from lakehouse.catalog import Catalog, TableSpec
from lakehouse.control import Control
from lakehouse.lanes.epoch import Epoch, Epochs
from lakehouse.lanes.protect import Protector
from lakehouse.lease import Lease
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Context:
    """Everything that a table's query needs from outside; made once by the lane.

    Attributes:
        set_aside: Ingest tables whose next batch may move records that break a ``fail`` expectation to the dead letters.
        accept_loss: Feeds whose deleted or expired records an operator has accepted as lost.
    """

    workspace: Workspace
    settings: Settings
    catalog: Catalog
    spark: SparkSession
    control: Control
    lease: Lease
    objects: Objects
    epochs: Epochs
    set_aside: set[str] = field(default_factory=set)
    accept_loss: set[str] = field(default_factory=set)

    @cached_property
    def protector(self) -> Protector:
        """What protects personal data."""
        return Protector(self.workspace, self.settings, self.spark, self.control)

    def path(self, spec: TableSpec) -> str:
        """Return where a table lies."""
        return spec.path(self.settings.lake_uri)

    def side_path(self, kind: str, feed: str) -> str:
        """Return where a feed's ``dead_letters`` or ``duplicates`` lie."""
        return f"{self.settings.lake_uri}/{kind}/{feed}"

    def epoch(self, spec: TableSpec) -> Epoch:
        """Return the epoch that a table is in."""
        return self.epochs.get(spec.full_name)

    def checkpoint(self, spec: TableSpec) -> str:
        """Return the checkpoint of a table's query in its present epoch."""
        return self.epoch(spec).checkpoint(self.settings.lake_uri, spec.full_name)


def fingerprint(text: str) -> str:
    """Return a short stable hash, for names of versions."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
