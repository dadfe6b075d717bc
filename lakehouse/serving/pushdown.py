"""Conditions that the reader of a Delta table can use to skip files: a column compared with constants.

They only save reading: DuckDB applies the whole WHERE again. So whatever is not surely the same for both engines is left
out: columns of other types than those below, and constants that are not written in the one plain form of that type.
"""

from __future__ import annotations

import calendar
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

_OPERATORS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_JOINS = {"INNER", "LEFT", "RIGHT", "OUTER", "FULL"}
_PLAIN_JOINS = {"REGULAR", "CROSS", "NATURAL"}
_UNITS = {"to_days": 0, "to_months": 1, "to_years": 12}  # months of each
_INTEGERS = {"byte", "short", "integer", "long"}
_KINDS = {
    **{kind: {"INTEGER"} for kind in _INTEGERS},
    "string": {"STRING"},
    "date": {"DATE"},
    "timestamp": {"TIMESTAMP", "DATE"},
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?")


@dataclass(frozen=True)
class Condition:
    """``column operator constant``.

    Attributes:
        column: Its name, as written.
        operator: ``=``, ``<``, ``<=``, ``>`` or ``>=``; several constants: ``=`` any of them.
        constants: ``(kind, text)`` each, where the kind is ``INTEGER``, ``STRING``, ``DATE``, ``TIMESTAMP``, or ``PARAMETER``: the
            name of a value that comes with the query (see :func:`given`).
    """

    column: str
    operator: str
    constants: tuple[tuple[str, str], ...]


def sources(node: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the tables of a FROM clause of which only rows matter that fulfil what WHERE says of their columns.

    Those are all that are joined in plain ways, outer joins too: where a row was left out, nulls stand instead, and a null fulfils no
    condition. A row that semi, anti, positional or nearest (ASOF) joins look at may matter whatever WHERE says.
    """
    if node is None or node.get("sample"):
        return
    if node["type"] == "BASE_TABLE" and not node["column_name_alias"]:
        yield node
    elif node["type"] == "JOIN" and node["join_type"] in _JOINS and node["ref_type"] in _PLAIN_JOINS:
        yield from sources(node["left"])
        yield from sources(node["right"])


def given(found: Collection[Condition], parameters: Mapping[str, Any] | Sequence[Any] | None) -> tuple[Condition, ...]:
    """Return conditions with the values of parameters in their places; those with values of other types are left out."""
    values = parameters if isinstance(parameters, Mapping) else {str(n): x for n, x in enumerate(parameters or (), 1)}
    bound = (replace(x, constants=tuple(_given(kind, text, values) for kind, text in x.constants)) for x in found)
    return tuple(x for x in bound if all(kind != "PARAMETER" for kind, _ in x.constants))


def _given(kind: str, text: str, values: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "PARAMETER":
        match values.get(text):
            case bool():
                pass
            case int() as whole:
                return "INTEGER", str(whole)
            case str() as written:
                return "STRING", written
    return kind, text


def conditions(where: dict[str, Any] | None, aliases: Collection[str]) -> tuple[Condition, ...]:
    """Return the conditions among the ANDed parts of a WHERE clause.

    Args:
        where: The clause in DuckDB's tree; ``None``: there is none.
        aliases: Lower-case names of the one table that the clause is about.
    """
    if where is None:
        return ()
    if where["type"] == "CONJUNCTION_AND":
        return tuple(found for child in where["children"] for found in conditions(child, aliases))
    match where["type"]:
        case kind if kind in _OPERATORS:
            operator = _OPERATORS[kind]
            if where["right"]["class"] == "COLUMN_REF":
                return _condition(where["right"], _MIRRORED[operator], [where["left"]], aliases)
            return _condition(where["left"], operator, [where["right"]], aliases)
        case "COMPARE_BETWEEN":
            return (
                *_condition(where["input"], ">=", [where["lower"]], aliases),
                *_condition(where["input"], "<=", [where["upper"]], aliases),
            )
        case "COMPARE_IN":
            return _condition(where["children"][0], "=", where["children"][1:], aliases)
    return ()


def predicate(found: Collection[Condition], types: Mapping[str, str]) -> str | None:
    """Write conditions as a predicate of delta-rs.

    Args:
        found: The conditions, all of which must hold.
        types: Column name → Delta type name of the primitive columns.

    Returns:
        SQL as DataFusion reads it, ``None`` when no condition can be used.
    """
    parts = []
    names = {name.lower(): name for name in types}
    for condition in found:
        name = names.get(condition.column.lower())
        values = [_literal(kind, text, types[name]) for kind, text in condition.constants] if name else [None]
        if name is None or None in values:
            continue
        column = '"' + name.replace('"', '""') + '"'
        compared = [f"{column} {condition.operator} {value}" for value in values]
        parts.append(compared[0] if len(compared) == 1 else f"({' OR '.join(compared)})")
    return " AND ".join(parts) or None


def exact(found: Collection[Condition], types: Mapping[str, str]) -> str | None:
    """Write conditions as a predicate of delta-rs that leaves just the rows which fulfil all, as DuckDB would.

    Args:
        found: The conditions.
        types: As in :func:`predicate`.

    Returns:
        SQL as DataFusion reads it, ``None`` when one cannot be written so: it compares a column with a constant of another kind.
    """
    if not fits(found, types) or any(predicate([condition], types) is None for condition in found):
        return None
    return predicate(found, types)


def fits(found: Collection[Condition], types: Mapping[str, str]) -> bool:
    """Say whether conditions compare each column with constants of its own kind, so that all engines mean the same by them.

    Args:
        found: The conditions.
        types: As in :func:`predicate`.
    """
    names = {name.lower(): name for name in types}
    kinds = ({kind for kind, _ in x.constants} - _KINDS.get(types.get(names.get(x.column.lower(), ""), ""), set()) for x in found)
    return not any(kinds)


def may_hold(condition: Condition, low: Any, high: Any) -> bool:
    """Say whether rows whose column is between two bounds can fulfil a condition; what cannot be compared may."""
    if low is None or high is None:
        return True
    values = [_comparable(kind, text, low) for kind, text in condition.constants]
    if None in values:
        return True
    if condition.operator == "=":
        return any(low <= value <= high for value in values)
    end = low if condition.operator in ("<", "<=") else high
    return any(_COMPARE[condition.operator](end, value) for value in values)


def _comparable(kind: str, text: str, like: Any) -> Any:
    """Return a constant as a value of the same type as another one; ``None`` when it has none."""
    match like:
        case bool():
            return None
        case int() if kind == "INTEGER":
            return int(text)
        case str() if kind == "STRING":
            return text
        case datetime():
            found = instant(kind, text)
            return found.replace(tzinfo=like.tzinfo) if found else None
        case date() if not isinstance(like, datetime):
            return day(kind, text)
    return None


def day(kind: str, text: str) -> date | None:
    """Return a constant as a day, when it is written in the one plain form of one."""
    try:
        return date.fromisoformat(text) if kind in {"STRING", "DATE"} and _DATE.fullmatch(text) else None
    except ValueError:  # a day that there is not, which DuckDB complains about
        return None


def instant(kind: str, text: str) -> datetime | None:
    """Return a constant as a moment in UTC, likewise."""
    try:
        stamp = moment(kind, text)
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC) if stamp else None
    except ValueError:
        return None


def moment(kind: str, text: str) -> str | None:
    """Return a constant as ``YYYY-MM-DD HH:MM:SS`` in UTC, when it is written in the one plain form of a moment or a day."""
    if kind not in {"STRING", "TIMESTAMP", "DATE"} or not _TIMESTAMP.fullmatch(text):
        return None
    return text if " " in text else f"{text} 00:00:00"


def _condition(
    column: dict[str, Any], operator: str, constants: list[dict[str, Any]], aliases: Collection[str]
) -> tuple[Condition, ...]:
    values = [_constant(node) for node in constants]
    if column["class"] != "COLUMN_REF" or not values or None in values:
        return ()
    path = [str(part) for part in column["column_names"]]
    if len(path) == 2 and path[0].lower() in aliases:
        path = path[1:]
    return (Condition(path[0], operator, tuple(x for x in values if x)),) if len(path) == 1 else ()


def _constant(node: dict[str, Any]) -> tuple[str, str] | None:
    match node["class"]:
        case "CAST" if not node.get("try_cast"):
            kind = str(node["type_expr"].get("type_name", "")).upper()
            inner = _constant(node["child"])
            return (kind, inner[1]) if inner and inner[0] == "STRING" and kind in {"DATE", "TIMESTAMP"} else None
        case "CONSTANT":
            literal = node.get("literal")
            return (literal["kind"], literal["text"]) if literal and literal.get("kind") in {"INTEGER", "STRING"} else None
        case "PARAMETER":
            return "PARAMETER", str(node["identifier"])
        case "FUNCTION" if node["function_name"] in ("+", "-") and len(node["arguments"]) == 2:
            day, interval = (x["expression"] for x in node["arguments"])
            return _moved(_constant(day), interval, 1 if node["function_name"] == "+" else -1)
    return None


def _moved(day: tuple[str, str] | None, interval: dict[str, Any], sign: int) -> tuple[str, str] | None:
    """Return a day that an interval of whole days, months or years is added to: the midnight that DuckDB makes of it."""
    months = _UNITS.get(str(interval.get("function_name")))
    if day is None or day[0] != "DATE" or not _DATE.fullmatch(day[1]) or months is None:
        return None
    while interval["class"] in ("FUNCTION", "CAST"):  # to_days(CAST(trunc(CAST('90' AS DOUBLE)) AS INTEGER))
        interval = interval["arguments"][0]["expression"] if interval["class"] == "FUNCTION" else interval["child"]
    number = _constant(interval)
    if number is None or not re.fullmatch(r"\d{1,5}", number[1]):
        return None
    try:
        start, count = date.fromisoformat(day[1]), sign * int(number[1])
        if not months:
            return "DATE", (start + timedelta(days=count)).isoformat()
        year, month = divmod(12 * start.year + start.month - 1 + count * months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return "DATE", date(year, month + 1, min(start.day, last)).isoformat()
    except (ValueError, OverflowError):  # no such day, or none that Python knows
        return None


def _literal(kind: str, text: str, delta_type: str) -> str | None:
    if delta_type in _INTEGERS and kind == "INTEGER" and re.fullmatch(r"-?\d{1,18}", text):
        return text
    if delta_type == "string" and kind == "STRING":
        return "'" + text.replace("'", "''") + "'"
    if delta_type == "date" and kind in {"STRING", "DATE"} and _DATE.fullmatch(text):
        return f"DATE '{text}'"
    if delta_type == "timestamp" and (stamp := moment(kind, text)):
        return f"arrow_cast('{stamp.replace(' ', 'T')}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return None
