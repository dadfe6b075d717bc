"""Tables as DuckDB reads them; those of the lake: one version, lazily, and only the columns asked for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.clients import delta_rs
from lakehouse.errors import QueryFailedError
from lakehouse.serving.pushdown import Condition, exact, may_hold, predicate
from lakehouse.serving.streams import Counted

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


class GuardedSource(Source, Protocol):
    """A table whose reader may find just the rows that a policy lets through."""

    def scan_only(self, columns: Sequence[str], own: Collection[Condition], conditions: Collection[Condition]) -> object | None:
        """Return a :meth:`scan` of no other rows than those that fulfil the first conditions; ``None`` when it cannot be sure."""


class DeltaSource:
    """One version of a Delta table; safe to share between threads.

    Attributes:
        types: Column name → Delta type name of the primitive columns.
    """

    def __init__(self, table: DeltaTable) -> None:
        self._table = table
        self._fields = table.schema().fields
        self.types = {x.name: x.type.type for x in self._fields if isinstance(getattr(x.type, "type", None), str)}
        self._schemas: dict[tuple[str, ...], Any] = {}

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        return [x.name for x in self._fields]

    @property
    def version(self) -> int:
        """Which version is read."""
        return int(self._table.version())

    @property
    def id(self) -> str:
        """Which table it is, also where another one was before."""
        return str(self._table.metadata().id)

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> Scan:
        """Return the rows of all files that can hold such rows; see :class:`Source`."""
        return self._scan(columns, predicate(conditions, self.types))

    def scan_only(self, columns: Sequence[str], own: Collection[Condition], conditions: Collection[Condition]) -> Scan | None:
        """Return the rows that fulfil the first conditions, where delta-rs can find just these; see :class:`GuardedSource`."""
        only = exact(own, self.types)
        if only is None:
            return None
        more = predicate(conditions, self.types)
        return self._scan(columns, f"{only} AND {more}" if more else only)

    def _scan(self, columns: Sequence[str], where: str | None) -> Scan:
        names = tuple(columns)
        if (schema := self._schemas.get(names)) is None:  # planning a scan takes as long as reading a small table
            schema = self._schemas[names] = self._table.scan(columns=list(names)).schema
        return Scan(self._table, list(names), where, schema, self._rows)

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> int:
        """Return the bytes of files that can hold such rows, by the share of the columns; see :class:`Source`."""
        files = self._files
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

    @cached_property
    def _files(self) -> Any:
        return self._table.get_add_actions(flatten=True)

    @cached_property
    def _rows(self) -> int | None:
        """How many rows there are, as the log says; ``None`` when it does not."""
        if "num_records" not in self._files.schema.names:
            return None
        counts = self._files.column("num_records").to_pylist()
        return None if None in counts else sum(counts)


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
        if (source := self.known(name)) is not None:
            return source
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            age, source = self._latest(name)
            return source if source is not None and age <= self._seconds / 2 else self._look(name)

    def known(self, name: str) -> DeltaSource | None:
        """Return the newest version where somebody looked a short while ago.

        When it will soon be too old, whoever asks first is to look, and the others need not wait.
        """
        age, source = self._latest(name)
        is_looked_for = name in self._locks and self._locks[name].locked()
        return source if age <= self._seconds / (1 if is_looked_for else 2) else None

    def _latest(self, name: str) -> tuple[float, DeltaSource | None]:
        looked_at, source = self._held.get(name, (-math.inf, None))
        return time.monotonic() - looked_at, source

    def _look(self, name: str) -> DeltaSource:
        looked_at, source = time.monotonic(), self._latest(name)[1]
        newest = self._open(name, None)
        if source is None or (source.version, source.id) != (newest.version, newest.id):
            source = newest  # what is known of the files is kept with it
        self._held[name] = looked_at, source
        return source


class Scan(Counted):
    """A table that DuckDB can read any number of times: each time it gets a new stream of Arrow batches."""

    def __init__(self, table: DeltaTable, columns: list[str], predicate: str | None, schema: Any, count: int | None) -> None:
        """Plan the reading.

        Args:
            table: The version to read.
            columns: Names to read.
            predicate: SQL of DataFusion that the rows fulfil; ``None``: all rows.
            schema: Of these columns.
            count: How many rows the table has; ``None`` when nobody knows.
        """
        super().__init__(schema, count)
        self._table = table
        self._columns = columns
        self._predicate = predicate

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows, for Arrow's PyCapsule interface."""
        return self._table.scan(columns=self._columns, predicate=self._predicate).__arrow_c_stream__(requested_schema)
