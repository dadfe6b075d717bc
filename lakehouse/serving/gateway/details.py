"""What is known of a table beside its rows: what it is, where it comes from, how fresh and how good it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from datetime import datetime

from pydantic import BaseModel, Field

from lakehouse.catalog import Catalog, Input
from lakehouse.errors import TidemillError
from lakehouse.livetables import live_tables
from lakehouse.serving.operations import operations
from lakehouse.telemetry.status import Status
from lakehouse.workspace import Workspace

log = logging.getLogger(__name__)


class Quality(BaseModel):
    """How good a table is; nothing of it depends on rows that somebody may not see, but for what all of them have in common."""

    pass_rate: float | None = Field(None, description="Share of the judged records that are no dead letters, 0–1.")
    passed: bool | None = Field(None, description="Whether all expectations held when it was last validated.")
    expectations: int | None = Field(None, description="How many there are.")
    failed: int | None = Field(None, description="How many did not hold.")
    validated_at: datetime | None = None


class Detail(BaseModel):
    """What is known of a table."""

    description: str = ""
    tags: list[str] = []
    keys: list[str] = Field([], description="Columns that identify a row.")
    personal: list[str] = Field([], description="Columns with personal data.")
    reads: list[str] = Field([], description="Tables that it is made of, as far as the user may see them.")
    read_by: list[str] = Field([], description="Tables that are made of it, likewise.")
    state: str = Field("unknown", description="Whether it is kept up to date: `running`, `paused`, `stopped`, `idle`, …")
    updated_at: datetime | None = Field(
        None, description="When its last batch ended; live tables: when their windows were last looked at."
    )
    lag: int | None = Field(None, description="Records or rows that its inputs have and it has not read yet.")
    quality: Quality = Quality()


class Details:
    """Knows the tables of a workspace; what is declared is read once, how they fare about once a second."""

    def __init__(self, workspace: Workspace) -> None:
        """Know where they are declared; nothing is read before somebody asks."""
        self._workspace = workspace
        self._guard = threading.Lock()
        self._declared: dict[str, Detail] | None = None
        self._inputs: dict[str, set[str]] = {}

    def of(self, name: str, columns: Collection[str], visible: Collection[str]) -> Detail:
        """Return what a user may know of a table.

        Args:
            name: ``layer.name``.
            columns: Those that the user sees.
            visible: Tables that the user sees something of.
        """
        try:
            declared = self._load()
            status = operations(self._workspace).read().status
        except TidemillError as error:
            log.warning("Nothing is known of the tables: %s", error)
            return Detail()
        detail = declared.get(name, Detail())
        return detail.model_copy(
            update={
                "keys": [key for key in detail.keys if key in columns],
                "personal": [column for column in detail.personal if column in columns],
                "reads": sorted(self._inputs.get(name, set()) & set(visible)),
                "read_by": sorted(x for x, inputs in self._inputs.items() if name in inputs and x in visible),
                **_fares(name, status),
            }
        )

    def _load(self) -> Mapping[str, Detail]:
        with self._guard:
            if self._declared is None:
                catalog = Catalog.load(self._workspace)
                found = {
                    spec.full_name: Detail(
                        description=spec.description, tags=list(spec.tags), keys=list(spec.keys), personal=list(spec.pii)
                    )
                    for spec in catalog
                }
                self._inputs = {spec.full_name: _names(spec.inputs) for spec in catalog}
                for live in live_tables(self._workspace, catalog).values():
                    found[live.full_name] = Detail(description=live.description, keys=list(live.keys))
                    self._inputs[live.full_name] = _names(live.inputs)
                self._declared = found
            return self._declared


def _names(inputs: Mapping[str, Input]) -> set[str]:
    return {source.name for source in inputs.values()}


def _fares(name: str, status: Status) -> dict[str, object]:
    """Return how a table fares, as fields of :class:`Detail`."""
    if (live := status.live.get(name.removeprefix("live."))) is not None and name.startswith("live."):
        return {"state": live.state, "updated_at": live.as_of}
    table = status.tables.get(name)
    if table is None:
        return {}
    checked = table.validation
    quality = Quality(pass_rate=table.pass_rate)
    if checked is not None:
        quality = Quality(
            pass_rate=table.pass_rate,
            passed=checked.passed,
            expectations=checked.expectations,
            failed=checked.failed,
            validated_at=checked.at,
        )
    return {
        "state": table.state,
        "updated_at": table.last_batch.at if table.last_batch else None,
        "lag": table.lag,
        "quality": quality,
    }
