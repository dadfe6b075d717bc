"""Whether the lake lane runs, and what that means for each table."""

from __future__ import annotations

import socket
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lakehouse.catalog import TableSpec
from lakehouse.stack.process import Identity
from lakehouse.telemetry.counts import Count
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


def lane_status(ledger: Ledger | None) -> LaneStatus:
    """Return whether a living process has the writer's lease."""
    if ledger is None:
        return LaneStatus(state="unknown", sentence="Whether the lane runs is not known: the control database does not answer.")
    lease = ledger.lease
    if lease is None:
        return LaneStatus(state="stopped", sentence=f"The lane never ran here; {_START}")
    here = lease["host"] == socket.gethostname()
    if not lease["alive"] or (here and Identity(lease["pid"], lease["process_started"]).live() is None):
        return LaneStatus(state="stopped", sentence=f"The lane is not running; {_START}")
    return LaneStatus(
        state="running",
        sentence=f"{lease['holder']} (process {lease['pid']} on {lease['host']}) writes the tables.",
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
