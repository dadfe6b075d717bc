"""Which rows a subscriber wants: conditions on columns, all of which must hold.

{"carrier": ["UA", "AA"], "delay": {"ge": 15, "lt": 60}, "dest": "SFO"}
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lakehouse.errors import TidemillError

Row = Mapping[str, Any]
Scalar = str | int | float | bool

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
}
_MOST_VALUES = 1_000


class FilterError(TidemillError):
    """A subscriber's filter means nothing; the message says where."""


@dataclass(frozen=True)
class Filter:
    """Conditions on columns.

    Attributes:
        within: Column → the values that it may have.
        compare: Column, operator and the value to compare with.
    """

    within: tuple[tuple[str, frozenset[Scalar]], ...] = ()
    compare: tuple[tuple[str, str, Scalar], ...] = ()

    @classmethod
    def read(cls, text: Any) -> Filter:
        """Read a filter from JSON that is parsed already.

        Raises:
            FilterError: It is none.
        """
        if not isinstance(text, dict):
            raise FilterError(f"A filter is an object, column → condition; this is {_shown(text)}.")
        within: list[tuple[str, frozenset[Scalar]]] = []
        compare: list[tuple[str, str, Scalar]] = []
        for column, condition in text.items():
            if isinstance(condition, dict):
                for name, value in condition.items():
                    if name not in _COMPARE:
                        raise FilterError(f"{column}: {name!r} is no operator; there are {', '.join(_COMPARE)}.")
                    compare.append((column, name, _scalar(column, value)))
                continue
            values = condition if isinstance(condition, list) else [condition]
            if not 0 < len(values) <= _MOST_VALUES:
                raise FilterError(f"{column}: a list holds 1 to {_MOST_VALUES:,} values; this one has {len(values):,}.")
            within.append((column, frozenset(_scalar(column, value) for value in values)))
        return cls(tuple(sorted(within, key=lambda x: x[0])), tuple(sorted(compare, key=lambda x: x[:2])))

    @property
    def columns(self) -> set[str]:
        """The columns that it looks at."""
        return {name for name, _ in self.within} | {name for name, _, _ in self.compare}

    def matches(self, row: Row) -> bool:
        """Say whether a row fulfils all conditions; a value that is missing, or of another type, fulfils none."""
        return all(_is_in(row.get(column), values) for column, values in self.within) and self.compares(row)

    def compares(self, row: Row) -> bool:
        """Say whether a row fulfils the comparisons; :attr:`within` is not looked at."""
        for column, name, value in self.compare:
            found = row.get(column)
            if _kind(found) is not _kind(value) or not _COMPARE[name](found, value):
                return False
        return True


def _scalar(column: str, value: Any) -> Scalar:
    if not isinstance(value, str | int | float | bool):
        raise FilterError(f"{column}: a value is text, a number or true or false; this is {_shown(value)}.")
    return value


def _is_in(found: Any, values: frozenset[Scalar]) -> bool:
    # 1 and true are equal in Python, and different in JSON.
    return any(_kind(found) is _kind(value) and found == value for value in values) if _is_number(found) else _has(values, found)


def _has(values: frozenset[Scalar], found: Any) -> bool:
    return isinstance(found, str) and found in values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _kind(value: Any) -> type:
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, int | float) else type(value)


def _shown(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()[:80]
