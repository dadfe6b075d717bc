"""Reads the status, and disturbs nothing by it: the control database, Delta logs, Kafka's offsets, the servers' processes.

A part that does not answer leaves its figures empty and a sentence in ``notes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
import valkey

from lakehouse.catalog import Catalog, TableSpec
from lakehouse.clients import valkey_client
from lakehouse.control import Control
from lakehouse.errors import TidemillError
from lakehouse.livetables import live_names
from lakehouse.settings import PARTS, Part, Settings
from lakehouse.sources.kafka import Extent, extents
from lakehouse.stack import supervisor
from lakehouse.telemetry import lag
from lakehouse.telemetry.counts import ABSENT, Count, Counts
from lakehouse.telemetry.lane import fast_lane_status, lane_status, live_status, table_state
from lakehouse.telemetry.latency import Hops, latencies
from lakehouse.telemetry.ledger import Batch, Ledger, Positions, all_positions, dead_letter_reasons, read_ledger
from lakehouse.telemetry.status import BatchStatus, FeedStatus, ServerStatus, Status, TableStatus, ValidationStatus
from lakehouse.workspace import Workspace

RATE_SECONDS = 60
"""Rates are over this many seconds, or over a few batches where one takes longer."""

_KAFKA_TIMEOUT_MS = 3_000
T = TypeVar("T")


class StatusReader:
    """Reads the status of one workspace again and again, cheaply: what did not change is not read again.

    Attributes:
        ledger: What the last reading found in the control database; ``None`` when it was away.
    """

    def __init__(self, workspace: Workspace, catalog: Catalog) -> None:
        self._workspace = workspace
        self._catalog = catalog
        self._counts = Counts()
        self._reasons: dict[str, tuple[int, dict[str, int]]] = {}
        self.ledger: Ledger | None = None

    def read(self, settings: Settings, control: Control | None) -> Status:
        """Read the status.

        Args:
            settings: Where the servers are.
            control: The control database; ``None`` when it cannot be reached.
        """
        notes: list[str] = []
        servers = self._servers(notes)
        names = [spec.full_name for spec in self._catalog]
        feeds = [spec.name for spec in self._catalog.layer("bronze")]
        # Bronze comes last: what lands meanwhile is then in flight, rather than judged before it was read.
        sides = [f"{kind}.{feed}" for kind in ("dead_letters", "duplicates") for feed in feeds]
        counted = [*sides, *sorted(names, key=lambda name: name.startswith("bronze."))]
        with ThreadPoolExecutor(4) as pool:
            held = pool.submit(self._extents, settings) if _up(servers, "kafka") else None
            counts = pool.submit(self._counts.read, settings, counted) if _up(servers, "s3") else None
            ledger = pool.submit(self._ledger, control) if control and _up(servers, "postgres") else None
            hops = _result(pool.submit(self._hops, settings) if _up(servers, "valkey") else None, notes) or {}
            topics = _result(held, notes)
            rows: dict[str, Count | None] = _result(counts, notes) or dict.fromkeys(counted)
            self.ledger = _result(ledger, notes)
        if self.ledger is None:
            notes.append("PostgreSQL does not answer, so states, rates and the last batches are not known.")
        elif reason := self.ledger.states.get("quality", {}).get("reason"):
            notes.append(f"The last validation did not end well: {reason}")
        reading = _Reading(self._workspace, self._catalog, servers, self.ledger, rows, topics, hops)
        return reading.status(notes, self._feeds(reading, control))

    def _servers(self, notes: list[str]) -> dict[Part, ServerStatus]:
        try:
            found = {
                server.part: ServerStatus(
                    state=server.state, address=server.address, pid=server.pid, log=str(server.log) if server.log else None
                )
                for server in supervisor.status(self._workspace)
            }
        except TidemillError as error:
            notes.append(str(error))
            return {part: ServerStatus(state="unknown", address=None, pid=None, log=None) for part in PARTS}
        if away := [part for part, server in found.items() if server.state not in ("running", "external")]:
            notes.append(f"{', '.join(away)}: not running; `tidemill up` starts what is missing.")
        return found

    def _extents(self, settings: Settings) -> dict[str, Extent]:
        topics = [spec.source.topic for spec in self._catalog.layer("bronze") if spec.source]
        return extents(settings, topics, _KAFKA_TIMEOUT_MS)

    def _hops(self, settings: Settings) -> dict[str, Hops]:
        live = live_names(self._workspace)
        if not live:
            return {}
        with valkey_client(settings, socket_timeout=3, socket_connect_timeout=3) as client:
            return {name: latencies(client, name) for name in live}

    def _ledger(self, control: Control) -> Ledger:
        ingest = [spec.full_name for spec in self._catalog if spec.is_ingest]
        derived = {
            spec.full_name: lag.inputs_of(spec, self._catalog)
            for spec in self._catalog
            if spec.layer in ("silver", "gold") and not spec.is_ingest
        }
        return read_ledger(control, [spec.full_name for spec in self._catalog], ingest, derived)

    def _feeds(self, reading: _Reading, control: Control | None) -> dict[str, FeedStatus]:
        feeds = {}
        for bronze in self._catalog.layer("bronze"):
            ingest = self._catalog.ingest(bronze.name).full_name
            letters = reading.counts[f"dead_letters.{bronze.name}"]
            try:
                reasons = self._reasons_of(ingest, letters, control) if reading.ledger else {}
                positions = self._positions(reading, bronze, ingest, control)
            except psycopg.OperationalError:  # it went away since the ledger was read
                reasons, positions = {}, None
            feeds[bronze.name] = reading.feed(bronze, ingest, reasons, positions)
        return feeds

    def _reasons_of(self, ingest: str, letters: Count | None, control: Control | None) -> dict[str, int]:
        version, known = self._reasons.get(ingest, (-1, {}))
        if control and letters and letters.version != version:
            known = dead_letter_reasons(control, ingest)
            # Letters are committed a moment before their batch is recorded, so only a full account may be kept.
            if sum(known.values()) >= (letters.rows or 0):
                self._reasons[ingest] = letters.version, known
        return known

    def _positions(self, reading: _Reading, bronze: TableSpec, ingest: str, control: Control | None) -> dict[int, int] | None:
        """Return how far the topic's present partitions are judged; ``None`` when that is not known."""
        if reading.ledger is None or reading.topics is None or control is None or bronze.source is None:
            return None
        topic = reading.topics.get(bronze.source.topic)
        if topic is None:
            return {}
        found: Positions = dict(reading.ledger.positions.get(ingest, {}))
        held = {partition for partition, end in topic.end.items() if end > topic.begin.get(partition, 0)}
        if found and held - found.get(topic.topic_id, {}).keys():
            found = all_positions(control, ingest)
        return found.get(topic.topic_id, {})


class _Reading:
    """What was read at one moment, and what follows from it."""

    def __init__(
        self,
        workspace: Workspace,
        catalog: Catalog,
        servers: dict[Part, ServerStatus],
        ledger: Ledger | None,
        counts: dict[str, Count | None],
        topics: dict[str, Extent] | None,
        hops: dict[str, Hops],
    ) -> None:
        self._workspace = workspace
        self._catalog = catalog
        self._servers = servers
        self.ledger = ledger
        self.counts = counts
        self.topics = topics
        self._hops = hops
        self._lane = lane_status(ledger)

    def status(self, notes: list[str], feeds: dict[str, FeedStatus]) -> Status:
        ledger = self.ledger
        live = live_names(self._workspace)
        fast = fast_lane_status(ledger) if live else None
        return Status(
            at=ledger.now.astimezone(UTC) if ledger else datetime.now(UTC),
            workspace=self._workspace.name,
            lane=self._lane,
            tables={spec.full_name: self._table(spec, feeds) for spec in self._catalog},
            feeds=feeds,
            undeclared_fields={feed: dict(ledger.undeclared[feed]) for feed in feeds if feed in ledger.undeclared}
            if ledger
            else {},
            servers=self._servers,
            notes=notes,
            fast_lane=fast,
            live={name: live_status(name, ledger, fast, self._hops.get(name, {})) for name in live} if fast else {},
        )

    def feed(self, bronze: TableSpec, ingest: str, reasons: dict[str, int], positions: dict[int, int] | None) -> FeedStatus:
        """Return a feed's account."""
        topic = self.topics.get(bronze.source.topic) if self.topics and bronze.source else None
        in_flight = None
        if positions is not None:
            begin, end = (topic.begin, topic.end) if topic else ({}, {})
            in_flight = sum(max(0, last - max(positions.get(p, 0), begin.get(p, 0))) for p, last in end.items())
        return FeedStatus(
            read=self._rows(bronze.full_name),
            silver=self._rows(ingest),
            dead_letters=self._rows(f"dead_letters.{bronze.name}"),
            duplicates=self._rows(f"duplicates.{bronze.name}"),
            in_flight=in_flight,
            reasons=reasons,
        )

    def _rows(self, name: str) -> int | None:
        count = self.counts[name]
        return count.rows if count else None

    def _table(self, spec: TableSpec, feeds: dict[str, FeedStatus]) -> TableStatus:
        ledger, name = self.ledger, spec.full_name
        count = self.counts[name]
        last = ledger.last.get(name) if ledger else None
        validated = ledger.validated.get(name) if ledger else None
        state, sentence = table_state(spec, ledger, self._lane, count or ABSENT)
        feed = feeds[spec.feed] if spec.is_ingest or spec.layer == "bronze" else None
        return TableStatus(
            layer=spec.layer,
            description=spec.description,
            state=state,
            sentence=sentence,
            rows=count.rows if count else None,
            version=count.version if count else None,
            rows_per_second=self._rate(spec),
            lag=self._lag(spec, feed, state),
            last_batch=_batch(last) if last else None,
            pass_rate=_pass_rate(feed) if feed and spec.is_ingest else None,
            validation=_validation(validated) if validated else None,
        )

    def _rate(self, spec: TableSpec) -> float | None:
        if self.ledger is None or spec.layer == "reference":
            return None
        return _rate(self.ledger, spec.full_name) if self._lane.state == "running" else 0.0

    def _lag(self, spec: TableSpec, feed: FeedStatus | None, state: str) -> int | None:
        if spec.layer == "reference":
            return None
        if feed is None:
            return lag.rows_waiting(spec, self.ledger, running=state == "running") if self.ledger else None
        judged = (feed.silver, feed.dead_letters, feed.duplicates)
        if feed.read is None or None in judged:
            return None
        unjudged = max(0, feed.read - sum(n for n in judged if n is not None))
        if spec.is_ingest:
            return unjudged
        return None if feed.in_flight is None else max(0, feed.in_flight - unjudged)


def _up(servers: dict[Part, ServerStatus], part: Part) -> bool:
    return servers[part].state in ("running", "external")


def _result(future: Future[T] | None, notes: list[str]) -> T | None:
    if future is None:
        return None
    try:
        return future.result()
    except TidemillError as error:
        notes.append(str(error))
    except (psycopg.OperationalError, valkey.ValkeyError):
        pass  # the caller says so, or the server's own line
    return None


def _rate(ledger: Ledger, table: str) -> float:
    """Return what a table read a second over the last minute, or over its last batches when one takes longer than that."""
    now = ledger.now.timestamp()
    batches = [batch for batch in ledger.recent if batch.table == table]
    window = max([RATE_SECONDS, *(1.5 * batch.duration_ms / 1000 for batch in batches[-3:])])
    counted = [batch for batch in batches if batch.finished > now - window]
    if not counted:
        return 0.0
    return sum(batch.rows_read for batch in counted) / max(now - min(batch.started for batch in counted), 1.0)


def _batch(batch: Batch) -> BatchStatus:
    return BatchStatus(
        at=batch.finished_at, duration_ms=batch.duration_ms, rows_read=batch.rows_read, rows_written=batch.rows_written
    )


def _pass_rate(feed: FeedStatus) -> float | None:
    if feed.silver is None or feed.duplicates is None or feed.dead_letters is None:
        return None
    judged = feed.silver + feed.duplicates + feed.dead_letters
    return 1 - feed.dead_letters / judged if judged else None


def _validation(row: Mapping[str, Any]) -> ValidationStatus:
    figures = {name: row[name] for name in ("version", "passed", "expectations", "failed")}
    return ValidationStatus(at=row["finished_at"], **figures)
