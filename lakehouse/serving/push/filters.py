"""Which rows a subscriber wants: conditions on columns, all of which must hold.

{"carrier": ["UA", "AA"], "delay": {"ge": 15, "lt": 60}, "dest": "SFO"}
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import orjson

from lakehouse.errors import TidemillError

Row = Mapping[str, Any]
Scalar = str | int | float | bool
Value = tuple[type, Scalar | None]
"""A value as :func:`as_json` tells it apart."""

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
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

    within: tuple[tuple[str, frozenset[Value]], ...] = ()
    compare: tuple[tuple[str, str, Scalar], ...] = ()

    @classmethod
    def read(cls, text: Any) -> Filter:
        """Read a filter from JSON that is parsed already.

        Raises:
            FilterError: It is none.
        """
        if not isinstance(text, dict):
            raise FilterError(f"A filter is an object, column → condition; this is {_shown(text)}.")
        within: list[tuple[str, frozenset[Value]]] = []
        compare: list[tuple[str, str, Scalar]] = []
        for column, condition in text.items():
            if isinstance(condition, dict):
                for name, value in condition.items():
                    if name not in COMPARE:
                        raise FilterError(f"{column}: {name!r} is no operator; there are {', '.join(COMPARE)}.")
                    compare.append((column, name, _scalar(column, value)))
                continue
            values = condition if isinstance(condition, list) else [condition]
            if not 0 < len(values) <= _MOST_VALUES:
                raise FilterError(f"{column}: a list holds 1 to {_MOST_VALUES:,} values; this one has {len(values):,}.")
            within.append((column, frozenset(as_json(_scalar(column, value)) for value in values)))
        return cls(tuple(sorted(within, key=lambda x: x[0])), tuple(sorted(compare, key=lambda x: x[:2])))

    @property
    def columns(self) -> set[str]:
        """The columns that it looks at."""
        return {name for name, _ in self.within} | {name for name, _, _ in self.compare}

    def among(self, column: str, values: Set[Value]) -> Iterable[Value]:
        """Return those of a column's values that fulfil the conditions on it."""
        for name, wanted in self.within:
            if name == column:
                values = values & wanted
        tests = [(COMPARE[name], *as_json(limit)) for other, name, limit in self.compare if other == column]
        return [x for x in values if all(x[0] is kind and test(x[1], limit) for test, kind, limit in tests)] if tests else values

    def matches(self, row: Row) -> bool:
        """Say whether a row fulfils all conditions; a value that is missing, or of another type, fulfils none."""
        return all(self.among(column, {as_json(row.get(column))}) for column in self.columns)


def as_json(value: Any) -> Value:
    """Return what JSON takes for equal: 1 and 1.0 are, 1 and true, which are equal in Python, are not; what is no scalar is none."""
    if isinstance(value, bool | str):
        return type(value), value
    return (float, value) if isinstance(value, int | float) else (type(None), None)


def _scalar(column: str, value: Any) -> Scalar:
    if not isinstance(value, str | int | float | bool):
        raise FilterError(f"{column}: a value is text, a number or true or false; this is {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()[:80]
