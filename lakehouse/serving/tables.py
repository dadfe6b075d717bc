"""Tables as DuckDB reads them; those of the lake: one version, lazily, and only the columns asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.clients import delta_rs
from lakehouse.errors import QueryFailedError
from lakehouse.serving.pushdown import Condition, may_hold, predicate

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# What delta-rs's reader was tried with (tests/lakehouse/serving/test_tables.py).
READER_FEATURES = {"columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint"}


@dataclass(frozen=True)
class Location:
    """Where a table lies.

    Attributes:
        uri: Folder of the table: a path, or ``s3://…``.
        options: Options of delta-rs's object store.
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # they hold credentials


def lake_locator(settings: Settings) -> Callable[[str], Location]:
    """Return the function that knows where a table of the lake lies, by ``layer.name``."""
    options = {**delta_rs(settings), "connect_timeout": "3s", "timeout": "30s", "max_retries": "2"}
    return lambda name: Location(f"s3://{settings.s3.bucket}/{name.replace('.', '/', 1)}", options)


class Source(Protocol):
    """A table that a query can read."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""

    @property
    def version(self) -> int | None:
        """Which version is read; ``None`` when there are no versions."""

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> object:
        """Return something that gives a new Arrow stream each time it is read.

        Args:
            columns: Names to read.
            conditions: What every row that matters fulfils; rows that do not may come too.
        """

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> int | None:
        """Return about how many bytes of files :meth:`scan` would read, at most; ``None`` when nobody can say."""


class DeltaSource:
    """One version of a Delta table."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table
        self._fields = table.schema().fields

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        return [x.name for x in self._fields]

    @property
    def version(self) -> int:
        """Which version is read."""
        return int(self._table.version())

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> Scan:
        """Return the rows of all files that can hold such rows; see :class:`Source`."""
        types = {x.name: x.type.type for x in self._fields if isinstance(getattr(x.type, "type", None), str)}
        return Scan(self._table, list(columns), predicate(conditions, types))

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> int:
        """Return the bytes of files that can hold such rows, by the share of the columns; see :class:`Source`."""
        files = self._table.get_add_actions(flatten=True)
        names = {x.name.lower(): x.name for x in self._fields}
        bounds = [(names[x.column.lower()], x) for x in conditions if x.column.lower() in names]
        bounds = [(name, x) for name, x in bounds if {f"min.{name}", f"max.{name}"} <= set(files.schema.names)]
        held = {f"{end}.{name}": files.column(f"{end}.{name}").to_pylist() for name, _ in bounds for end in ("min", "max")}
        sizes = files.column("size_bytes").to_pylist()
        total: int = sum(
            size
            for number, size in enumerate(sizes)
            if all(may_hold(x, held[f"min.{name}"][number], held[f"max.{name}"][number]) for name, x in bounds)
        )
        return round(total * len(columns) / max(1, len(self._fields)))


def open_table(name: str, location: Location, version: int | None) -> DeltaTable:
    """Open one version of a table.

    Args:
        name: ``layer.name``, for messages.
        location: Where it lies.
        version: Which version; ``None``: the newest.

    Raises:
        QueryFailedError: It is not written yet, has no such version, or cannot be read.
    """
    try:
        table = DeltaTable(location.uri, version=version, storage_options=dict(location.options) or None)
    except TableNotFoundError as error:
        raise QueryFailedError(f"{name} has no data yet; `tidemill run` writes it.") from error
    except (DeltaError, OSError) as error:
        cause = str(error).strip().partition("\n")[0].rstrip(".")
        if version is not None:
            raise QueryFailedError(f"{name} cannot be read at version {version}: {cause}.") from error
        raise QueryFailedError(f"{name} cannot be read: {cause}; `tidemill status` shows the servers.") from error
    if unread := set(table.protocol().reader_features or ()) - READER_FEATURES:
        features = ", ".join(sorted(unread))
        raise QueryFailedError(f"{name} uses Delta features that `tidemill query` cannot read ({features}); use Spark.")
    return table


def lake(locate: Callable[[str], Location]) -> Callable[[str, int | None], DeltaSource]:
    """Return the function that opens a table of the lake, by ``layer.name``, at a version or at its newest."""
    return lambda name, version: DeltaSource(open_table(name, locate(name), version))


class Recent:
    """Opens tables of the lake for many who ask at once: each one's newest version is looked for once in a while."""

    def __init__(self, open_source: Callable[[str, int | None], DeltaSource], seconds: float) -> None:
        """Open by another function.

        Args:
            open_source: Opens a table, by ``layer.name``, at a version or at its newest.
            seconds: How old the newest version may be.
        """
        self._open = open_source
        self._seconds = seconds
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._held: dict[str, tuple[float, DeltaSource]] = {}

    def __call__(self, name: str, version: int | None) -> DeltaSource:
        """Return a table; one that others are opening now is opened once."""
        if version is not None:
            return self._open(name, version)
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            opened_at, source = self._held.get(name, (-float("inf"), None))
            if source is None or time.monotonic() - opened_at > self._seconds:
                opened_at = time.monotonic()
                source = self._open(name, None)
                self._held[name] = opened_at, source
            return source


class Scan:
    """A table that DuckDB can read any number of times: each time it gets a new stream of Arrow batches."""

    def __init__(self, table: DeltaTable, columns: list[str], predicate: str | None) -> None:
        """Plan the reading.

        Args:
            table: The version to read.
            columns: Names to read.
            predicate: SQL of DataFusion that the rows fulfil; ``None``: all rows.
        """
        self._open = partial(table.scan, columns=columns, predicate=predicate)
        self._schema = self._open().schema

    def __arrow_c_schema__(self) -> object:
        """Return the columns, for Arrow's PyCapsule interface."""
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows, for Arrow's PyCapsule interface."""
        return self._open().__arrow_c_stream__(requested_schema)
