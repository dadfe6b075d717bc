"""Masks and row conditions as DuckDB computes them, before a user's query sees anything; constants are parameters."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from lakehouse.errors import AccessDeniedError
from lakehouse.security.policy import OPERATORS, Mask, Test, View
from lakehouse.serving.sandbox import quoted

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
_NUMBERS = _WHOLE | {"FLOAT", "DOUBLE", "DECIMAL"}
_MOMENTS = {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}
_BLOCK = 64  # bytes of SHA-256's block


@dataclass
class Projection:
    """A query of one table that shows what a view shows.

    Attributes:
        select: What follows SELECT.
        where: What follows WHERE.
        qualify: What follows QUALIFY: of the rows that are left, those that look like enough others; empty: all.
        parameters: Values of ``$1``, ``$2``, …
    """

    select: str
    where: str
    qualify: str
    parameters: list[Any] = field(default_factory=list)


def project(view: View, columns: Sequence[str], types: Mapping[str, str], key: bytes) -> Projection:
    """Return how a view's rows come out of the whole table.

    Args:
        view: What may be seen.
        columns: Names to show, each of which the view shows.
        types: Column of the whole table → DuckDB's name of its type.
        key: The key of :attr:`~lakehouse.security.policy.Mask.hash`.

    Raises:
        AccessDeniedError: The policy does not fit the table: a column is of a type that cannot be masked or compared so.
    """
    parameters: list[Any] = []

    def bound(value: Any) -> str:
        parameters.append(value)
        return f"${len(parameters)}"

    wrong = _Misfit(view.table)
    names = {name.lower(): name for name in types}

    def value(column: str) -> str:
        mask = view.masks.get(column.lower())
        return quoted(column) if mask is None else _masked(mask, column, types[column], key, bound, wrong)

    shown = [f"{value(column)} AS {quoted(column)}" for column in columns]
    tests = []
    for test in view.rows:
        name = names[test.column.lower()]
        tests.append(_tested(test, name, types[name], bound, wrong))
    alike = ""
    if view.anonymous is not None:
        by = ", ".join(value(names[name.lower()]) for name in view.anonymous.by)
        person = view.anonymous.person
        counted = f"DISTINCT {quoted(names[person.lower()])}" if person else "*"
        alike = f"count({counted}) OVER (PARTITION BY {by}) >= {bound(view.anonymous.k)}"
    return Projection(", ".join(shown), " AND ".join(tests) or "true", alike, parameters)


def fit(view: View, columns: Collection[str]) -> None:
    """Look whether all that a view speaks of is there.

    Args:
        view: The view.
        columns: Names of the whole table's columns.

    Raises:
        AccessDeniedError: A column is not. A name that is misspelt would hide or filter nothing.
    """
    named = {*view.masks, *view.reveal, *needed(view, ()), *(view.columns or ())}
    for name in sorted(named - {column.lower() for column in columns}):
        raise _Misfit(view.table)(name, "is not there")


def needed(view: View, columns: Collection[str]) -> set[str]:
    """Return the lower-case names of the columns that a view's rows are made of."""
    own = {test.column.lower() for test in view.rows}
    if view.anonymous is not None:
        own |= {name.lower() for name in (*view.anonymous.by, view.anonymous.person) if name}
    return {name.lower() for name in columns} | own


class _Misfit:
    """What is said when policy and table do not fit; it names no value."""

    def __init__(self, table: str) -> None:
        self._table = table

    def __call__(self, column: str, what: str) -> AccessDeniedError:
        return AccessDeniedError(f"The policy on {self._table} speaks of {column}, which {what}; nothing of the table is shown.")


def _masked(mask: Mask, column: str, type_name: str, key: bytes, bound: Any, wrong: _Misfit) -> str:
    name, kind = quoted(column), _family(type_name)
    match mask.kind:
        case "null":
            return f"CAST(NULL AS {type_name})"
        case "hash" if kind in _WHOLE | {"VARCHAR"}:
            # RFC 2104, of SHA-256 and the value's text.
            inner, outer = (bytes(x ^ pad for x in key.ljust(_BLOCK, b"\0")) for pad in (0x36, 0x5C))
            text = f"encode({name}::VARCHAR)"
            return f"sha256({bound(outer)}::BLOB || unhex(sha256({bound(inner)}::BLOB || {text})))"
        case "partial" if kind == "VARCHAR" and mask.partial is not None:
            first, last = mask.partial.first, mask.partial.last
            hidden = f"repeat('*', length({name}) - {first + last})"
            parts = [f"left({name}, {first})" if first else "", hidden, f"right({name}, {last})" if last else ""]
            ends = " || ".join(part for part in parts if part)
            return f"CASE WHEN length({name}) > {first + last} THEN {ends} ELSE repeat('*', length({name})) END"
        case "range" if kind in _NUMBERS and mask.range is not None:
            width = f"{bound(mask.range)}::DOUBLE"
            return f"TRY_CAST(floor({name}::DOUBLE / {width}) * {width} AS {type_name})"
        case "truncate" if kind in _MOMENTS:
            return f"CAST(date_trunc('{mask.truncate}', {name}) AS {type_name})"
    raise wrong(column, f"is of type {type_name}, for which there is no {mask.kind} mask")


def _tested(test: Test, column: str, type_name: str, bound: Any, wrong: _Misfit) -> str:
    if not test.values:
        return "false"
    kind = _family(type_name)
    for value in test.values:
        if not _fits(value, kind):
            raise wrong(column, f"is of type {type_name}, and is compared with a value of another one")
    cast = type_name if kind in _MOMENTS else {"VARCHAR": "VARCHAR", "BOOLEAN": "BOOLEAN"}.get(kind, "")
    values = [f"{bound(value)}::{cast}" if cast else bound(value) for value in test.values]
    name = quoted(column)
    if test.operator == "in":
        return f"{name} IN ({', '.join(values)})"
    joint = " AND " if test.of_all else " OR "
    return f"({joint.join(f'{name} {OPERATORS[test.operator]} {value}' for value in values)})"


def _fits(value: Any, kind: str) -> bool:
    match value:
        case bool():
            return kind == "BOOLEAN"
        case int() | float():
            return kind in _NUMBERS
        case str():
            return kind == "VARCHAR"
        case datetime():
            return kind in _MOMENTS - {"DATE"}
        case date():
            return kind in _MOMENTS
    return False


def _family(type_name: str) -> str:
    return type_name.partition("(")[0].strip().upper() if "[" not in type_name else type_name


def tenant_key(master: bytes, tenant: str) -> bytes:
    """Return the key of a tenant's masks."""
    return hmac.digest(master, b"mask " + tenant.encode(), hashlib.sha256)
