"""How everything fares at one moment: what ``tidemill status`` prints and the Operations page shows."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from lakehouse.catalog import Layer
from lakehouse.settings import Part
from lakehouse.telemetry.lane import LaneStatus, LiveStatus


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class ServerStatus(_Model):
    """One server; see :class:`lakehouse.stack.supervisor.ServerStatus`."""

    state: str
    address: str | None
    pid: int | None
    log: str | None


class BatchStatus(_Model):
    """The last batch of a table.

    Attributes:
        at: When it ended.
        duration_ms: How long it took, in milliseconds.
        rows_read: Records, rows or keys that it read.
        rows_written: Rows that it wrote.
    """

    at: datetime
    duration_ms: int
    rows_read: int
    rows_written: int


class ValidationStatus(_Model):
    """The last validation of a table by Great Expectations.

    Attributes:
        at: When it ended.
        version: Last Delta version that it looked at.
        passed: Whether all expectations held.
        expectations: How many there are.
        failed: How many did not hold.
    """

    at: datetime
    version: int
    passed: bool
    expectations: int
    failed: int


class TableStatus(_Model):
    """One table.

    Attributes:
        layer: Its layer.
        description: What is declared of it.
        state: ``running``, ``paused``, ``stopped``, ``done`` (ran to the end of its input), ``waiting`` (for its first turn),
            ``idle`` (nothing runs it), ``loaded`` (reference data) or ``unknown`` (the control database is away).
        sentence: Why, and what to do; empty when there is nothing to say.
        rows: Rows of its newest version; ``None`` when they cannot be counted.
        version: Its newest version; -1 before the first.
        rows_per_second: What it read over the last minute.
        lag: Records or rows that its inputs have and it has not read yet.
        last_batch: Its last batch.
        pass_rate: Ingest tables: share of the judged records that are no dead letters, 0–1.
        validation: Its last validation.
    """

    layer: Layer
    description: str
    state: str
    sentence: str
    rows: int | None
    version: int | None
    rows_per_second: float | None
    lag: int | None
    last_batch: BatchStatus | None
    pass_rate: float | None
    validation: ValidationStatus | None


class FeedStatus(_Model):
    """The account of one feed; each figure is counted on its own, and ``None`` when it cannot be.

    Attributes:
        read: Rows of bronze.
        silver: Rows of the ingest table.
        dead_letters: Rows of the dead letters.
        duplicates: Rows of the duplicates.
        in_flight: Records in Kafka behind the last one that was judged.
        reasons: Reason → dead letters that have it; one may have several.
    """

    read: int | None
    silver: int | None
    dead_letters: int | None
    duplicates: int | None
    in_flight: int | None
    reasons: dict[str, int]


class Status(_Model):
    """Everything, at one moment.

    Attributes:
        at: The moment.
        workspace: Name of the workspace.
        lane: The lake lane.
        tables: By ``layer.name``, inputs first.
        feeds: By name.
        undeclared_fields: Feed → field → records that had it.
        servers: By part.
        notes: Sentences on what could not be read.
        fast_lane: The fast lane; ``None`` when the workspace has no live tables.
        live: Live tables, by name.
    """

    at: datetime
    workspace: str
    lane: LaneStatus
    tables: dict[str, TableStatus]
    feeds: dict[str, FeedStatus]
    undeclared_fields: dict[str, dict[str, int]]
    servers: dict[Part, ServerStatus]
    notes: list[str]
    fast_lane: LaneStatus | None = None
    live: dict[str, LiveStatus] = {}
