"""Rows of a live table as one user may see them: what :mod:`lakehouse.serving.masks` does in DuckDB, a row at a time.

A row comes as JSON: texts, numbers, true and false; moments are ISO 8601. Values that are not what their column says are not shown, and
fulfil nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lakehouse.errors import AccessDeniedError
from lakehouse.security.policy import Mask, Test, View
from lakehouse.serving.masks import fit, project, tenant_key
from lakehouse.serving.push.filters import COMPARE, as_json

Row = Mapping[str, Any]

# PostgreSQL's types of live tables as DuckDB calls them; of others nothing can be compared, and they can only be hidden.
_DUCKDB = {
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    "date": "DATE",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "timestamp": "TIMESTAMP",
}
_WHOLE = {"smallint", "integer", "bigint"}
_COMPARE = {**COMPARE, "in": operator.eq, "ne": operator.ne}
_QUARTER = 3


class Shown:
    """What one user sees of the rows of a live table; users with equal views share one."""

    def __init__(self, view: View, types: Mapping[str, str], master: bytes) -> None:
        """Put a view before the rows.

        Args:
            view: What may be seen.
            types: Column → type of PostgreSQL.
            master: The secret that keys of masks are made of.

        Raises:
            AccessDeniedError: The policy does not fit the table, or shows rows only among many.
        """
        fit(view, types)
        if view.anonymous is not None:
            raise AccessDeniedError(f"{view.table} is anonymous for you, which a row by itself cannot be; query it.")
        self.columns = [name for name in types if view.shows(name)]
        self._key = tenant_key(master, view.tenant)
        known = {name: _DUCKDB.get(kind, "DECIMAL" if kind.startswith("numeric") else kind) for name, kind in types.items()}
        project(view, self.columns, known, self._key)  # refuses what does not fit a column's type
        names = {name.lower(): name for name in types}
        self._tests = [(names[test.column.lower()], test) for test in view.rows]
        self._values = {name: self._masking(view.masks.get(name.lower()), types[name]) for name in self.columns}

    def __call__(self, row: Row) -> Row | None:
        """Return what is seen of a row; ``None``: nothing."""
        if not all(_fulfils(row.get(name), test) for name, test in self._tests):
            return None
        names = dict.fromkeys([*(name for name in row if name in self._values), *self._values])  # in the order that they came in
        return {name: None if (value := row.get(name)) is None else self._values[name](value) for name in names}

    def _masking(self, mask: Mask | None, kind: str) -> Callable[[Any], Any]:
        """Return what is done to a value that is there."""
        if mask is None:
            return lambda value: value
        match mask.kind:
            case "hash":
                wanted = int if kind in _WHOLE else str
                return lambda value: self._digest(value) if type(value) is wanted else None
            case "partial" if mask.partial is not None:
                first, last = mask.partial.first, mask.partial.last
                return lambda value: _ends(value, first, last) if isinstance(value, str) else None
            case "range" if mask.range is not None:
                width, number = float(mask.range), round if kind in _WHOLE else float
                return lambda value: _lower_bound(value, width, number)
            case "truncate" if mask.truncate is not None:
                unit = mask.truncate
                return lambda value: _truncated(value, unit, kind)
        return lambda value: None

    def _digest(self, value: Any) -> str:
        return hmac.new(self._key, str(value).encode(), hashlib.sha256).hexdigest()


def _fulfils(value: Any, test: Test) -> bool:
    compare = _COMPARE[test.operator]
    found = [both is not None and compare(*both) for both in (_alike(value, constant) for constant in test.values)]
    return bool(found) and (all(found) if test.of_all else any(found))


def _alike(value: Any, constant: Any) -> tuple[Any, Any] | None:
    """Return a value and a constant such that they can be compared; ``None`` when they are of different kinds."""
    if isinstance(constant, date):
        moments = _moment(value), _moment(constant.isoformat())
        return None if None in moments else moments
    kind, comparable = as_json(value)
    return (comparable, constant) if kind is as_json(constant)[0] else None


def _moment(value: Any) -> datetime | None:
    """Return a moment; one without a time zone is taken for UTC, as everywhere in Tidemill."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _truncated(value: Any, unit: str, kind: str) -> str | None:
    moment = _moment(value)
    if moment is None:
        return None
    begin = moment.replace(second=0, microsecond=0)
    if unit != "minute":
        begin = begin.replace(minute=0)
    if unit not in ("minute", "hour"):
        begin = begin.replace(hour=0)
    if unit == "week":
        begin = begin - timedelta(days=begin.weekday())
    if unit in ("month", "quarter", "year"):
        begin = begin.replace(day=1)
    if unit == "quarter":
        begin = begin.replace(month=begin.month - (begin.month - 1) % _QUARTER)
    if unit == "year":
        begin = begin.replace(month=1)
    return begin.date().isoformat() if kind == "date" else f"{begin:%Y-%m-%dT%H:%M:%S}.000{'Z' if kind == 'timestamptz' else ''}"


def _ends(value: str, first: int, last: int) -> str:
    if len(value) <= first + last:
        return "*" * len(value)
    return value[:first] + "*" * (len(value) - first - last) + value[len(value) - last :]


def _lower_bound(value: Any, width: float, number: Callable[[float], Any]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    bound = math.floor(float(value) / width) * width
    return number(bound) if math.isfinite(bound) else None
