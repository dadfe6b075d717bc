"""Declare live tables: what the fast lane makes of a feed's good records, and what the hot store keeps of them.

A live table is declared in the folder ``live/`` of a workspace, one file a feed, named like the feed:

    @live("flights", keys=["flight_id"], sequence_by="event_time", retention="2 days")
    def flights(
        events: Annotated[DataFrame, Silver("flight_events")], airlines: Annotated[DataFrame, Reference("airlines")]
    ) -> DataFrame:
        return events.join(airlines, "carrier", "left").select("_record", "flight_id", …)
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.catalog import Catalog, Input, inputs_of, lake_tables
from lakehouse.declarations import first_line, load_declaration
from lakehouse.durations import duration
from lakehouse.errors import DeclarationError, UnknownNameError
from lakehouse.windows import FRAME, Windows
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class LiveSpec:
    """All that is declared of one live table.

    Attributes:
        name: Name of the feed that it belongs to, and of the table in the hot store.
        keys: Columns that identify a thing whose latest state is kept.
        sequence_by: TIMESTAMP or integer column that says which state of a key is the later one.
        retention: How long rows are kept, on the feed clock.
        window: How much of the feed clock one partition of the table holds.
        inputs: Parameter name of ``function`` → the table that is passed for it.
        function: The transformation: selects, filters and joins with reference data.
        description: First line of the function's docstring.
        windows: What is counted of its rows by windows, if anything.
    """

    name: str
    keys: tuple[str, ...]
    sequence_by: str
    retention: timedelta
    window: timedelta
    inputs: Mapping[str, Input] = field(hash=False)
    function: Callable[..., Any]
    description: str
    windows: Windows | None = None

    @property
    def feed(self) -> str:
        """Name of the feed that its rows come from."""
        return self.name

    @property
    def reach(self) -> timedelta:
        """How far back records can matter, on the feed clock."""
        return self.retention

    @property
    def full_name(self) -> str:
        """``live.name``."""
        return f"live.{self.name}"

    @property
    def live_topic(self) -> str:
        """Topic of the rows that passed."""
        return f"{self.name}.live"

    @property
    def dead_letter_topic(self) -> str:
        """Topic of the records that did not pass, with their reasons."""
        return f"{self.name}.dlq"


@dataclass(frozen=True)
class WindowSpec(LiveSpec):
    """The windows of a live table, which the hot store and the push service keep like a live table of its own.

    Its keys are span and group, whose latest state is the last window; in PostgreSQL each window has a row.

    Attributes:
        table: The live table.
    """

    table: LiveSpec = field(kw_only=True)

    @classmethod
    def of(cls, table: LiveSpec) -> WindowSpec:
        """Return the windows that a live table declares."""
        assert table.windows is not None
        own = {x.name: getattr(table, x.name) for x in fields(table)}
        keys = (FRAME[0], *table.windows.by)
        return cls(**own | {"name": f"{table.name}_windows", "keys": keys, "sequence_by": FRAME[1], "table": table})

    @property
    def feed(self) -> str:
        """Name of the feed that its rows come from."""
        return self.table.name

    @property
    def reach(self) -> timedelta:
        """How far back records can matter, on the feed clock: the oldest window that is kept is whole."""
        assert self.windows is not None
        return self.retention + max(self.windows.lengths(self.full_name).values())

    @property
    def live_topic(self) -> str:
        """Topic of the windows as they change."""
        return f"{self.feed}.windows"


def live(
    name: str,
    *,
    keys: Sequence[str],
    sequence_by: str,
    retention: str = "2 days",
    window: str = "1 hour",
    windows: Windows | None = None,
) -> Callable[[Callable[..., DataFrame]], LiveSpec]:
    """Declare the live table of a feed.

    The function gets the feed's good records, as its silver table selects them, and reference tables. It is row-wise, and
    ends in a ``select`` of ``"_record"`` and the table's own columns: what Real-time Mode cannot do (grouping, windows,
    Python functions) is refused when the lane starts.

    Args:
        name: Name of the feed.
        keys: Columns that identify a thing whose latest state is kept.
        sequence_by: TIMESTAMP or integer column that says which state of a key is the later one.
        retention: How long rows are kept, on the feed clock: ``"2 days"``.
        window: How much of the feed clock one partition holds; rows are dropped a partition at a time.
        windows: What is counted of the rows by windows of event time; the function selects the silver table's event time then.

    Raises:
        DeclarationError: A duration cannot be read, a parameter is not annotated, or windows cannot be what is declared.
    """

    def declare(function: Callable[..., DataFrame]) -> LiveSpec:
        if not keys:
            raise DeclarationError(f"live.{name} needs keys: the columns that identify a thing whose latest state is kept.")
        if windows is not None:
            windows.check(f"live.{name}")
        return LiveSpec(
            name=name,
            keys=tuple(keys),
            sequence_by=sequence_by,
            retention=duration(f"live.{name}", retention),
            window=duration(f"live.{name}", window),
            inputs=inputs_of(f"live.{name}", function),
            function=function,
            description=first_line(function),
            windows=windows,
        )

    return declare


def live_tables(workspace: Workspace, catalog: Catalog) -> dict[str, LiveSpec]:
    """Import the files of a workspace's ``live/`` folder, and check them against its other tables.

    Returns:
        Name of the feed → its live table.

    Raises:
        DeclarationError: A file declares something else than the table that it is named after, or a table reads anything but
            its feed's silver table and reference tables.
        UnknownNameError: A table reads one that nobody declared, or is named after no feed.
    """
    found = {name: load_declaration(file, "live", LiveSpec) for name, file in live_files(workspace).items()}
    for spec in found.values():
        _check(spec, catalog)
    return found


def live_files(workspace: Workspace) -> dict[str, Path]:
    """Return the name of each live table of a workspace → its file, without importing any of them."""
    return {file.stem: file for file in sorted((workspace.tables / "live").glob("[!_]*.py"))}


def live_names(workspace: Workspace) -> list[str]:
    """Return the names of all live tables and their windows, without importing a file."""
    names = []
    for name, file in live_files(workspace).items():
        nodes = ast.walk(ast.parse(file.read_text()))
        counted = any(isinstance(node, ast.keyword) and node.arg == "windows" for node in nodes)
        names += [name, f"{name}_windows"] if counted else [name]
    return names


def live_full_names(workspace: Workspace) -> list[str]:
    """Return ``live.name`` of all of :func:`live_names`."""
    return [f"live.{name}" for name in live_names(workspace)]


def feeds_among(tables: Iterable[str]) -> list[str]:
    """Return the names, without ``live.``, of the live ones among ``layer.name`` of tables."""
    return [name.removeprefix("live.") for name in tables if name.startswith("live.")]


def served_tables(workspace: Workspace) -> list[str]:
    """Return ``layer.name`` of every table that can be asked for, in the lake and in the hot store; no file is imported."""
    return [*lake_tables(workspace), *live_full_names(workspace)]


def with_windows(tables: Mapping[str, LiveSpec]) -> dict[str, LiveSpec]:
    """Return live tables and, behind them the windows of those that have some; by name."""
    windows = [WindowSpec.of(spec) for spec in tables.values() if spec.windows is not None]
    return {**tables, **{spec.name: spec for spec in windows}}


def _check(spec: LiveSpec, catalog: Catalog) -> None:
    name = spec.full_name
    try:
        ingest = catalog.ingest(spec.name)
    except UnknownNameError:
        feeds = ", ".join(x.name for x in catalog.layer("bronze")) or "none"
        raise UnknownNameError(f"{name} is named after no feed; there are: {feeds}.") from None
    sources = [source.name for source in spec.inputs.values()]
    for source in sources:
        catalog[source]
        if source != ingest.full_name and not source.startswith("reference."):
            raise DeclarationError(f"{name} reads {source}; it can read {ingest.full_name} and reference tables.")
    if ingest.full_name not in sources:
        raise DeclarationError(f"{name} does not read {ingest.full_name}, the good records of its feed.")
    taken = {x.name for x in catalog.layer("bronze")}
    if spec.windows is not None and f"{spec.name}_windows" in taken:
        raise DeclarationError(
            f"{name} has windows, which are {name}_windows, and there is a feed of that name; rename the feed."
        )
