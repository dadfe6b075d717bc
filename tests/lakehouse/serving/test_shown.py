"""A live row is shown as a query of the same table shows it: one policy, two ways to carry it out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.errors import AccessDeniedError
from lakehouse.security.policy import Policy, View
from lakehouse.security.users import User
from lakehouse.serving.governed import GovernedSource
from lakehouse.serving.push.shown import Shown
from lakehouse.serving.query import answer

MASTER = b"m" * 32
START = datetime(2013, 1, 1, tzinfo=UTC)
TYPES = {
    "id": "bigint",
    "carrier": "text",
    "note": "text",
    "number": "integer",
    "delay": "double precision",
    "at": "timestamptz",
    "day": "date",
    "ok": "boolean",
}
ARROW = {
    "bigint": pa.int64(),
    "text": pa.string(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "timestamptz": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "boolean": pa.bool_(),
}
USER = User("ada", "united", ("analyst",), {"carriers": ("UA", "é✈"), "numbers": (3, 7)})
UNITS = ("minute", "hour", "day", "week", "month", "quarter", "year")
TRUNCATIONS = [f"columns: [id, at, day], masks: {{at: {{truncate: {unit}}}, day: {{truncate: {unit}}}}}" for unit in UNITS]
GRANTS = [
    'columns: "*"',
    "columns: [id, note]",
    "columns: [id, carrier], masks: {carrier: hash, id: null}",
    "columns: [id, number, note], masks: {number: hash, note: {partial: {first: 1, last: 2}}}",
    "columns: [note], masks: {note: {partial: {first: 0, last: 1}}}",
    "columns: [id, delay, number], masks: {delay: {range: 15}, number: {range: 4}}",
    "columns: [id, delay], masks: {delay: {range: 0.3}}",
    *TRUNCATIONS,
    "columns: [id], rows: [{column: carrier, in: {claim: carriers}}]",
    "columns: [id], rows: [{column: carrier, in: {claim: nothing}}]",
    "columns: [id], rows: [{column: carrier, ne: UA}, {column: ok, eq: true}]",
    "columns: [id], rows: [{column: number, ne: {claim: numbers}}]",
    "columns: [id], rows: [{column: number, gt: {claim: numbers}}]",
    "columns: [id], rows: [{column: delay, ge: 1.5}, {column: delay, lt: 40}]",
    "columns: [id], rows: [{column: at, ge: 2013-01-03T00:00:00Z}, {column: at, lt: 2013-02-01}]",
    "columns: [id], rows: [{column: day, le: 2013-01-20}, {column: day, in: [2013-01-02, 2013-01-05]}]",
    "columns: [id], rows: [{column: note, gt: b}]",
]


class _Table:
    """The rows as a source of DuckDB's."""

    version = None

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = pa.Table.from_pylist(rows, pa.schema([(name, ARROW[kind]) for name, kind in TYPES.items()]))
        self.columns = list(TYPES)

    def scan(self, columns: Any, conditions: Any) -> pa.Table:
        return self._rows.select(columns)

    def scan_only(self, columns: Any, own: Any, conditions: Any) -> None:
        """What is in memory is not filtered."""


def rows() -> list[dict[str, Any]]:
    rng = random.Random(7)

    def or_none(value: Any) -> Any:
        return None if rng.random() < 0.1 else value

    return [
        {
            "id": number,
            "carrier": or_none(rng.choice(["UA", "AA", "é✈", ""])),
            "note": or_none(rng.choice(["", "é", "ab", "o'neil", f"note ✈ {number}"])),
            "number": or_none(rng.randrange(-9, 9)),
            "delay": or_none(rng.randrange(-200, 4_000) / 8),
            "at": or_none(START + timedelta(milliseconds=rng.randrange(90 * 86_400_000))),
            "day": or_none(date(2013, 1, 1) + timedelta(days=rng.randrange(400))),
            "ok": or_none(rng.random() < 0.5),
        }
        for number in range(400)
    ]


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the fast lane writes it."""
    return {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def view(grant: str) -> View:
    return Policy(f"roles: {{analyst: [{{tables: [live.gulls], {grant}}}]}}").view(USER, "live.gulls")


@pytest.mark.parametrize("grant", GRANTS)
def test_a_row_is_shown_as_a_query_shows_it(grant: str) -> None:
    whole, seen = rows(), view(grant)
    expected = answer("FROM live.gulls", ["live.gulls"], lambda *_: GovernedSource(_Table(whole), seen, MASTER), limit=len(whole))
    columns = expected.columns
    wanted = [as_json(dict(zip(columns, row, strict=True))) for row in expected.rows()]
    shown = Shown(seen, TYPES, MASTER)
    found = [row for x in whole if (row := shown(as_json(x))) is not None]
    assert found == wanted
    assert shown.columns == list(columns)


def test_values_that_are_not_what_the_column_says_are_not_shown() -> None:
    shown = Shown(
        view("columns: [id, number, delay, at, note], masks: {number: hash, delay: {range: 15}, at: {truncate: day}}"),
        TYPES,
        MASTER,
    )
    odd = {"id": 1, "number": "7", "delay": True, "at": "soon", "note": {"deep": 1}, "salary": 5}
    assert shown(odd) == {"id": 1, "number": None, "delay": None, "at": None, "note": {"deep": 1}}
    tested = Shown(view("columns: [id], rows: [{column: number, ge: 0}]"), TYPES, MASTER)
    assert [tested({"id": 1, "number": value}) for value in ("7", None, True, [7], 1e3)] == [None] * 4 + [{"id": 1}]
    assert tested({"id": 1}) is None


@pytest.mark.parametrize(
    "grant",
    [
        "columns: [id, nowhere]",
        "columns: [id], rows: [{column: nowhere, eq: 1}]",
        "columns: [id], rows: [{column: number, eq: one}]",
        "columns: [ok], masks: {ok: hash}",
        "columns: [note], masks: {note: {range: 5}}",
        "columns: [number], masks: {number: {partial: {first: 1}}}",
    ],
)
def test_a_policy_that_does_not_fit_shows_nothing(grant: str) -> None:
    with pytest.raises(AccessDeniedError, match=r"The policy on live\.gulls speaks of"):
        Shown(view(grant), TYPES, MASTER)
