"""Small tables in memory: what many ask for at once, each with another view, is read from the lake once for each version.

What is kept is the whole table, before any policy; each question still gets what its user's view lets through, worked out anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.serving.pushdown import Condition, day, fits, instant
from lakehouse.serving.tables import DeltaSource, GuardedSource, Recent

_SHARE = 8  # a table may take so much of all memory that is given
_UNPACKED = 4  # times as large as its files it may be in memory
_COMPARE = {"=": pc.equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}
_DIGITS = 18  # of a whole number that surely fits
_TWICE = 2  # a version that is asked for once is not worth it


class Holding:
    """Opens tables of the lake, and keeps small ones; safe to share between threads."""

    def __init__(self, open_source: Recent, most: int) -> None:
        """Keep some.

        Args:
            open_source: Opens a table.
            most: Bytes to keep in all; 0: nothing.
        """
        self._open = open_source
        self._most = most
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __call__(self, name: str, version: int | None) -> GuardedSource:
        """Return a table, from memory where its newest version is asked for again."""
        source = self._open(name, version)
        if version is not None or source.stored_bytes(source.columns, ()) > self._most // _SHARE:
            return source
        with self._guard:
            kept = self._kept.get(name)
            if kept is None or kept.source is not source:
                kept = self._kept[name] = _Kept(source)
            kept.asked += 1
            self._kept.move_to_end(name)
        if kept.asked < _TWICE or kept.is_too_large:
            return source
        with kept.guard:
            if kept.held is None and not kept.is_too_large:
                table = _filterable(pa.table(source.scan(source.columns, ())))  # in one piece: each costs each question
                if table is None or table.nbytes > self._most // _SHARE * _UNPACKED:
                    kept.is_too_large = True
                else:
                    kept.held = HeldSource(source, table)
                    self._make_room()
        return kept.held or source

    def latest(self, name: str) -> int | None:
        """Return the newest version of a table, if that takes no looking."""
        source = self._open.known(name)
        return None if source is None else source.version

    def _make_room(self) -> None:
        """Let go of the tables that nobody asked for longest."""
        with self._guard:
            while sum(x.nbytes for x in self._kept.values()) > self._most and len(self._kept) > 1:
                self._kept.popitem(last=False)


class HeldSource:
    """One version of a table, in memory, and beside it the rows of those who see some of them alone; safe to share between threads."""

    def __init__(self, source: DeltaSource, table: pa.Table) -> None:
        """Hold a table.

        Args:
            source: Where it came from.
            table: All of it.
        """
        self._source = source
        self._table = table
        self._guard = threading.Lock()
        self._shown: OrderedDict[tuple[Condition, ...], pa.Table] = OrderedDict()
        self._shown_bytes = 0

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        return self._source.columns

    @property
    def version(self) -> int:
        """Which version is read."""
        return self._source.version

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, at most."""
        return int(self._table.nbytes) * 2

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> pa.Table:
        """Return the rows that can matter, so that masks are made for no others; see :class:`~lakehouse.serving.tables.Source`."""
        return _filtered(self._table, _tests(conditions, self._table), columns)

    def scan_only(self, columns: Sequence[str], own: Collection[Condition], conditions: Collection[Condition]) -> pa.Table | None:
        """Return the rows that fulfil the first conditions; see :class:`~lakehouse.serving.tables.GuardedSource`."""
        rows = self._rows(tuple(own))
        return None if rows is None else _filtered(rows, _tests(conditions, rows), columns)

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> int:
        """Return the bytes of the files that it came from; see :class:`~lakehouse.serving.tables.Source`."""
        return self._source.stored_bytes(columns, conditions)

    def _rows(self, own: tuple[Condition, ...]) -> pa.Table | None:
        """Return the rows that fulfil a policy's conditions, from memory where they were found before; ``None``: nobody can be sure."""
        if not own:
            return self._table
        with self._guard:
            if own in self._shown:
                self._shown.move_to_end(own)
                return self._shown[own]
        tests = _tests(own, self._table) if fits(own, self._source.types) else []
        if len(tests) < len(own):
            return None
        rows = _filtered(self._table, tests, self._table.column_names).combine_chunks()
        with self._guard:
            if own not in self._shown:  # nobody was as fast
                self._shown[own] = rows
                self._shown_bytes += rows.nbytes
            while self._shown_bytes > self._table.nbytes:
                self._shown_bytes -= self._shown.popitem(last=False)[1].nbytes
        return rows


@dataclass
class _Kept:
    source: DeltaSource
    asked: int = 0
    held: HeldSource | None = None
    is_too_large: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.held.nbytes if self.held else 0


def _filtered(table: pa.Table, tests: Sequence[Any], columns: Sequence[str]) -> pa.Table:
    """Return columns of the rows that pass all tests."""
    shown = table.select(list(columns))
    return shown.filter(reduce(pc.and_kleene, tests)) if tests else shown


def _tests(conditions: Collection[Condition], table: pa.Table) -> list[Any]:
    """Return for each condition which rows fulfil it, without those conditions that might be read in another way than DuckDB does."""
    names = {name.lower(): name for name in table.column_names}
    known = (_test(x, table.column(names[x.column.lower()])) for x in conditions if x.column.lower() in names)
    return [x for x in known if x is not None]


def _test(condition: Condition, column: Any) -> Any | None:
    values = [_value(kind, text, column.type) for kind, text in condition.constants]
    if not values or None in values:
        return None
    return reduce(pc.or_kleene, (_COMPARE[condition.operator](column, value) for value in values))


def _value(kind: str, text: str, of: Any) -> Any | None:
    if pa.types.is_integer(of) and kind == "INTEGER" and len(text) <= _DIGITS:
        return int(text)
    if pa.types.is_string(of) and kind == "STRING":
        return text
    if pa.types.is_date32(of):
        return day(kind, text)
    if pa.types.is_timestamp(of) and of.tz == "UTC":
        return instant(kind, text)
    return None


def _filterable(table: pa.Table) -> pa.Table | None:
    """Return a table whose texts pyarrow can filter; ``None`` when there are others inside of lists or structs."""
    kinds = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    schema = pa.schema([x.with_type(kinds.get(x.type, x.type)) for x in table.schema])
    return None if any("view" in str(kind) for kind in schema.types) else table.cast(schema).combine_chunks()
