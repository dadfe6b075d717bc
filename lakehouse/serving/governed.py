"""Tables as one user may see them: rows filtered and values masked as they are read, before the user's query meets any.

The reading is done by a DuckDB of its own, which knows nothing of the user's text but which columns it needs and a few plain
comparisons; what comes out of it is all that the user's DuckDB ever gets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime

import duckdb
from arro3.core import RecordBatchReader

from lakehouse.errors import AccessDeniedError
from lakehouse.security.policy import OPERATORS, Test, View
from lakehouse.serving.masks import fit, needed, project, tenant_key
from lakehouse.serving.pushdown import Condition
from lakehouse.serving.revealed import Reveal, Revealed
from lakehouse.serving.sandbox import own
from lakehouse.serving.streams import Counted
from lakehouse.serving.tables import GuardedSource

OnRead = Callable[[str, Sequence[str]], None]


class GovernedSource:
    """A table behind a view."""

    def __init__(
        self,
        source: GuardedSource,
        view: View,
        master: bytes,
        on_read: OnRead = lambda *_: None,
        reveal: Callable[[], Reveal] | None = None,
    ) -> None:
        """Put a view before a table.

        Args:
            source: The whole table.
            view: What is shown of it.
            master: The secret that keys of masks are made of.
            on_read: Told the table and which of its columns are shown.
            reveal: Returns what opens what is sealed.

        Raises:
            AccessDeniedError: The policy does not fit the table.
        """
        fit(view, source.columns)
        self._reveal = reveal
        self._source = source
        self._view = view
        self._key = tenant_key(master, view.tenant)
        self._on_read = on_read

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that are there for this user."""
        return [name for name in self._source.columns if self._view.shows(name)]

    @property
    def version(self) -> int | None:
        """Which version is read."""
        return self._source.version

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> int | None:
        """Return about how many bytes :meth:`scan` reads; it depends on what is shown alone."""
        every, plain, own = self._reads(columns, conditions)
        return self._source.stored_bytes(every, [*plain, *[x for x in own if x is not None]])

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> object:
        """Return the rows and values that may be seen; see :class:`~lakehouse.serving.tables.Source`.

        Raises:
            AccessDeniedError: The policy does not fit the table, or nobody opens here what it reveals.
            KeyringError: What is sealed cannot be opened now.
        """
        self._on_read(self._view.table, columns)
        if self._view.is_whole:
            return self._source.scan(columns, conditions)
        every, plain, own = self._reads(columns, conditions)
        sealed = [name for name in every if name.lower() in self._view.reveal]
        # Without values to compute, and with conditions that the reader is known to fulfil to the letter, nothing is left to do.
        computed = sealed or self._view.anonymous or not self._view.masks.keys().isdisjoint(name.lower() for name in columns)
        known = [x for x in own if x is not None]
        rows = None if None in own else self._source.scan_only(every if computed else columns, known, plain)
        if rows is not None and not computed:
            return rows
        if rows is None:
            rows = self._source.scan(every, [*plain, *known])
        if sealed:
            if self._reveal is None:
                raise AccessDeniedError(f"{', '.join(sealed)} of {self._view.table} is not revealed here; ask the gateway.")
            rows = Revealed(rows, self._view.reveal, self._reveal())
        return _Shown(rows, self._view, columns, self._key)

    def _reads(
        self, columns: Sequence[str], conditions: Collection[Condition]
    ) -> tuple[Sequence[str], list[Condition], list[Condition | None]]:
        """Return the columns that the table is asked for, and what their rows fulfil: of the query's conditions, and the policy's."""
        read = needed(self._view, columns)
        every = [name for name in self._source.columns if name.lower() in read]
        # The source compares with what is really there, so columns that are masked or hidden do not take part.
        other = {*self._view.masks, *self._view.reveal}
        plain = [x for x in conditions if self._view.shows(x.column) and x.column.lower() not in other]
        if self._view.anonymous is not None:  # who looks alike is counted among all rows, whatever is asked
            plain = []
        return every, plain, [_condition(test) for test in self._view.rows]


def _condition(test: Test) -> Condition | None:
    """Return what the policy asks of rows such that a source may skip what does not fulfil it; ``None``: it must look at all."""
    constants: list[tuple[str, str]] = []
    for value in test.values:
        match value:
            case bool() | float():
                return None
            case int() | str():
                constants.append(("INTEGER" if isinstance(value, int) else "STRING", str(value)))
            case datetime():
                moment = value.astimezone(UTC) if value.tzinfo else value
                if moment.microsecond:
                    return None
                constants.append(("TIMESTAMP", f"{moment:%Y-%m-%d %H:%M:%S}"))
            case date():
                constants.append(("DATE", value.isoformat()))
    if test.operator in ("eq", "in") and constants:
        return Condition(test.column, "=", tuple(constants))
    operator = OPERATORS[test.operator]
    return (
        Condition(test.column, operator, tuple(constants)) if operator in ("<", "<=", ">", ">=") and len(constants) == 1 else None
    )


class _Shown(Counted):
    """Rows that can be read any number of times: each time by a connection of its own."""

    def __init__(self, rows: object, view: View, columns: Sequence[str], key: bytes) -> None:
        self._all = rows
        self._view = view
        self._columns = columns
        self._key = key
        self._guard = threading.Lock()
        self._opened: duckdb.DuckDBPyRelation | None = self._open()  # which the first reading takes
        schema = RecordBatchReader.from_stream(self._opened.limit(0)).schema  # without reading a row
        super().__init__(schema, rows.count if isinstance(rows, Counted) else getattr(rows, "num_rows", None))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows, for Arrow's PyCapsule interface."""
        with self._guard:
            opened, self._opened = self._opened, None
        return (opened or self._open()).__arrow_c_stream__()

    def _open(self) -> duckdb.DuckDBPyRelation:
        connection = own().cursor()
        connection.register("whole", self._all)
        whole = connection.sql("FROM whole")
        types = {name: str(kind) for name, kind in zip(whole.columns, whole.types, strict=True)}
        shown = project(self._view, self._columns, types, self._key)
        text = f"SELECT {shown.select} FROM whole WHERE {shown.where}"  # noqa: S608  # names are quoted, values are parameters
        return connection.sql(f"{text} QUALIFY {shown.qualify}" if shown.qualify else text, params=shown.parameters)


def govern(
    open_source: Callable[[str, int | None], GuardedSource],
    views: Mapping[str, View],
    master: bytes,
    on_read: OnRead = lambda *_: None,
    reveal: Callable[[], Reveal] | None = None,
) -> Callable[[str, int | None], GovernedSource]:
    """Return the function that opens a table as one user may see it.

    Args:
        open_source: Opens the whole table.
        views: ``layer.name`` → what may be seen of it; other tables are not opened.
        master: As in :class:`GovernedSource`.
        on_read: Likewise.
        reveal: Likewise.
    """
    return lambda name, version: GovernedSource(open_source(name, version), views[name], master, on_read, reveal)
