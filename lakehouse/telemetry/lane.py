"""Whether the lanes run, and what that means for each table."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lakehouse.catalog import TableSpec
from lakehouse.stack.process import Identity
from lakehouse.telemetry.counts import Count
from lakehouse.telemetry.latency import Hops
from lakehouse.telemetry.ledger import Ledger

_START = "`tidemill run` starts it."


class LaneStatus(BaseModel):
    """The process that writes the tables.

    Attributes:
        state: ``running``, ``stopped``, or ``unknown`` when the control database is away.
        sentence: The same for people, with what to do.
        holder: What it is, while it runs.
        pid: Its process on ``host``, while it runs.
        host: Its machine, while it runs.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["running", "stopped", "unknown"]
    sentence: str
    holder: str | None = None
    pid: int | None = None
    host: str | None = None


class LiveStatus(BaseModel):
    """One live table, or its windows.

    Attributes:
        state: Of its query: ``running``, ``paused``, ``stopped`` or ``idle``.
        sentence: Why, and what to do; empty when there is nothing to say.
        sink: Of the hot sinks, as the last one said: ``running``, ``paused`` or ``idle``.
        sink_sentence: Why.
        latency: Hop → how old rows were at its end, over the last minute; without the hops that no row went.
        as_of: Windows: when their query last looked for records.
        behind_seconds: Windows: how far their rows in the hot store are behind those of the live table, on the feed clock.
    """

    model_config = ConfigDict(frozen=True)

    state: str
    sentence: str
    sink: str
    sink_sentence: str
    latency: Hops = {}
    as_of: datetime | None = None
    behind_seconds: float | None = None


def lane_status(ledger: Ledger | None) -> LaneStatus:
    """Return whether a living process has the lease of the lake lane."""
    return _status(ledger, ledger.lease if ledger else None, "The lane", "the tables", _START)


def fast_lane_status(ledger: Ledger | None) -> LaneStatus:
    """Return whether a living process has the lease of the fast lane."""
    start = "`tidemill run --lane fast` starts it."
    return _status(ledger, ledger.fast_lease if ledger else None, "The fast lane", "the live tables", start)


def _status(ledger: Ledger | None, lease: Mapping[str, Any] | None, lane: str, writes: str, start: str) -> LaneStatus:
    if ledger is None:
        sentence = f"Whether {lane[0].lower()}{lane[1:]} runs is not known: the control database does not answer."
        return LaneStatus(state="unknown", sentence=sentence)
    if lease is None:
        return LaneStatus(state="stopped", sentence=f"{lane} never ran here; {start}")
    here = lease["host"] == socket.gethostname()
    if not lease["alive"] or (here and Identity(lease["pid"], lease["process_started"]).live() is None):
        return LaneStatus(state="stopped", sentence=f"{lane} is not running; {start}")
    return LaneStatus(
        state="running",
        sentence=f"{lease['holder']} (process {lease['pid']} on {lease['host']}) writes {writes}.",
        holder=lease["holder"],
        pid=lease["pid"],
        host=lease["host"],
    )


def table_state(spec: TableSpec, ledger: Ledger | None, lane: LaneStatus, count: Count) -> tuple[str, str]:
    """Return a table's state and the sentence to it; see :class:`~lakehouse.telemetry.status.TableStatus`."""
    if ledger is None:
        return "unknown", ""
    if spec.layer == "reference":
        return ("loaded", "") if count.version >= 0 else ("waiting", "It is read when the lane starts.")
    row = ledger.states.get(spec.full_name)
    if row is None:
        return ("waiting", "The lane has not come to it yet.") if lane.state == "running" else ("idle", "It never ran.")
    state, reason = str(row["state"]), str(row["reason"])
    if state in ("running", "paused") and lane.state != "running":
        return "idle", "The process that ran it ended without a word; `tidemill run` goes on where it was."
    if state == "idle" and lane.state == "running":
        return "waiting", "The lane has not come to it yet."
    return state, reason


def live_status(name: str, ledger: Ledger | None, lane: LaneStatus, hops: Hops) -> LiveStatus:
    """Return how a live table's query and the hot sinks fare."""
    if ledger is None:
        return LiveStatus(state="unknown", sentence="", sink="unknown", sink_sentence="", latency=hops)
    query, sink = ledger.states.get(f"live.{name}", {}), ledger.states.get(f"hot.{name}", {})
    state = query.get("state", "idle")
    if lane.state != "running" and state in ("running", "paused"):  # it was killed before it could say so
        state = "idle"
    as_of = (query.get("detail") or {}).get("as_of")
    feed, own = ledger.clocks.get(name.removesuffix("_windows")), ledger.clocks.get(name)
    return LiveStatus(
        state=state,
        sentence=query.get("reason", ""),
        sink=sink.get("state", "idle"),
        sink_sentence=sink.get("reason", ""),
        latency=hops,
        as_of=datetime.fromisoformat(as_of) if as_of else None,
        behind_seconds=max(0.0, (feed - own).total_seconds()) if as_of and feed and own else None,
    )
