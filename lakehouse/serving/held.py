"""Small tables in memory: what many ask for at once, each with another view, is read from the lake once for each version.

What is kept is the whole table, before any policy; each question still gets what its user's view lets through, worked out anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.serving.pushdown import COMPARE, Condition, day, instant
from lakehouse.serving.tables import DeltaSource, GuardedSource

_SHARE = 8  # a table may take so much of all memory that is given
_UNPACKED = 4  # times as large as its files it may be in memory
_DIGITS = 18  # of a whole number that surely fits
_TWICE = 2  # a version that is asked for once is not worth it


class Holding:
    """Opens tables of the lake, and keeps small ones; safe to share between threads."""

    def __init__(self, open_source: Callable[[str, int | None], DeltaSource], most: int) -> None:
        """Keep some.

        Args:
            open_source: Opens a table, by ``layer.name``, at a version or at its newest.
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
            if kept.table is None and not kept.is_too_large:
                table = _filterable(pa.table(source.scan(source.columns, ())))
                kept.is_too_large = table is None or table.nbytes > self._most // _SHARE * _UNPACKED
                kept.table = None if kept.is_too_large else table
            table = kept.table
        self._make_room()
        return source if table is None else HeldSource(source, table)

    def _make_room(self) -> None:
        """Let go of the tables that nobody asked for longest."""
        with self._guard:
            while sum(x.nbytes for x in self._kept.values()) > self._most and len(self._kept) > 1:
                self._kept.popitem(last=False)


@dataclass
class _Kept:
    source: DeltaSource
    asked: int = 0
    table: pa.Table | None = None
    is_too_large: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        table = self.table
        return 0 if table is None else int(table.nbytes)


class HeldSource:
    """One version of a table, in memory."""

    def __init__(self, source: DeltaSource, table: pa.Table) -> None:
        self._source = source
        self._table = table

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        return self._source.columns

    @property
    def version(self) -> int:
        """Which version is read."""
        return self._source.version

    def scan(self, columns: Sequence[str], conditions: Collection[Condition]) -> pa.Table:
        """Return the rows that can matter, so that masks are made for no others; see :class:`~lakehouse.serving.tables.Source`."""
        names = {name.lower(): name for name in self._table.column_names}
        tests = [_test(x, names[x.column.lower()], self._table.schema) for x in conditions if x.column.lower() in names]
        where = reduce(and_, [x for x in tests if x is not None], pc.scalar(True))
        table = self._table.filter(where) if tests else self._table
        return table.select(list(columns))

    def scan_only(self, columns: Sequence[str], own: Collection[Condition], conditions: Collection[Condition]) -> None:
        """DuckDB applies the policy's own conditions to the few rows that are left."""

    def stored_bytes(self, columns: Sequence[str], conditions: Collection[Condition]) -> int:
        """Return the bytes of the files that it came from; see :class:`~lakehouse.serving.tables.Source`."""
        return self._source.stored_bytes(columns, conditions)


def _test(condition: Condition, column: str, schema: Any) -> Any | None:
    """Return a condition as pyarrow's; ``None`` when it might be read in another way than DuckDB does."""
    values = [_value(kind, text, schema.field(column).type) for kind, text in condition.constants]
    if not values or None in values:
        return None
    return reduce(or_, (COMPARE[condition.operator](pc.field(column), value) for value in values))


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
    return None if any("view" in str(kind) for kind in schema.types) else table.cast(schema)
