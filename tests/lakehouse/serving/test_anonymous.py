"""Rows that look like too few others are left out, whatever is asked; what is sealed is opened for those it is revealed to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.errors import AccessDeniedError, PolicyError, QueryFailedError
from lakehouse.security.policy import Policy
from lakehouse.security.users import User
from lakehouse.serving.governed import govern
from lakehouse.serving.push.shown import Shown
from lakehouse.serving.query import QueryResult, answer

MASTER = b"m" * 32
POLICY = Policy("""
roles:
  researcher:
    - tables: [silver.bookings]
      columns: [carrier, fare]
      rows: [{column: carrier, ne: XX}]
      masks: {fare: {range: 100}}
      anonymous: {k: 3, by: [carrier, fare], person: email}
  desk:
    - tables: [silver.bookings]
      columns: [id, name, email, phone]
      reveal: {name: silver.bookings, phone: silver.bookings}
      masks: {phone: {partial: {last: 2}}}
""")


def booking(number: int, carrier: str, fare: float, email: str) -> dict[str, Any]:
    sealed = {"name": f"sealed name {number}", "phone": f"sealed +1-555-{number:02}"}
    return {"id": number, "carrier": carrier, "fare": fare, "email": email, **sealed}


ROWS = [
    *[booking(n, "UA", 110.0 + n, f"p{n}") for n in range(3)],  # three people alike
    *[booking(n, "UA", 250.0, "p0") for n in range(3, 8)],  # five flights of one person
    *[booking(n, "DL", 20.0, f"p{n}") for n in range(8, 10)],  # two
    *[booking(n, "XX", 20.0, f"p{n}") for n in range(10, 20)],  # many, but not to be seen
    booking(20, "DL", 40.0, "p0"),  # the third
]


class Held:
    version = None

    def __init__(self) -> None:
        self.asked: list[tuple[Collection[str], int]] = []
        self._table = pa.Table.from_pylist(ROWS)

    @property
    def columns(self) -> Sequence[str]:
        return list(self._table.column_names)

    def scan(self, columns: Sequence[str], conditions: Collection[object]) -> object:
        self.asked.append((columns, len(conditions)))
        return self._table.select(list(columns))

    def scan_only(self, *_: object) -> None:
        return None

    def stored_bytes(self, *_: object) -> None:
        return None


def opened(values: Sequence[str | None], place: str) -> list[str | None]:
    return [None if value is None else f"{place}={value.removeprefix('sealed ')}" for value in values]


def ask(role: str, sql: str, held: Held | None = None, reveals: bool = True) -> QueryResult:
    views = POLICY.visible(User("eve", "university", (role,), {}), ["silver.bookings"])
    source = held or Held()
    return answer(sql, list(views), govern(lambda *_: source, views, MASTER, reveal=(lambda: opened) if reveals else None))


def test_only_what_enough_people_have_in_common_is_seen() -> None:
    rows = ask("researcher", "SELECT carrier, fare, count(*)::INT FROM silver.bookings GROUP BY ALL ORDER BY 1").rows()
    assert [tuple(row) for row in rows] == [("DL", 0.0, 3), ("UA", 100.0, 3)]


@pytest.mark.parametrize(
    "where", ["fare = 100", "carrier = 'DL'", "carrier = 'UA' AND fare >= 200", "fare BETWEEN 0 AND 50 OR carrier = 'XX'"]
)
def test_what_is_asked_for_changes_nothing_of_who_looks_alike(where: str) -> None:
    whole = ask("researcher", "SELECT * FROM silver.bookings ORDER BY ALL").rows()
    held = Held()
    some = ask("researcher", f"SELECT * FROM silver.bookings WHERE {where} ORDER BY ALL", held).rows()
    assert set(map(tuple, some)) <= set(map(tuple, whole))
    assert held.asked[-1][1] == 0  # the policy's own comparison is one that no file is skipped by
    assert ask("researcher", "SELECT count(*) FROM silver.bookings").rows()[0][0] == 6


def test_the_column_that_tells_people_apart_is_not_shown() -> None:
    with pytest.raises(QueryFailedError, match="email"):
        ask("researcher", "SELECT email FROM silver.bookings")


def test_what_is_anonymous_is_not_pushed_row_by_row() -> None:
    view = POLICY.view(User("eve", "university", ("researcher",), {}), "silver.bookings")
    types = {"id": "bigint", "carrier": "text", "fare": "double precision", "email": "text", "name": "text", "phone": "text"}
    with pytest.raises(AccessDeniedError, match="anonymous"):
        Shown(view, types, MASTER)


@pytest.mark.parametrize(
    "grant",
    [
        'columns: "*", anonymous: {k: 3, by: [carrier]}',
        "columns: [fare], anonymous: {k: 3, by: [carrier]}",
        "columns: [carrier], anonymous: {k: 1, by: [carrier]}",
        "columns: [carrier], anonymous: {k: 2, by: []}",
    ],
)
def test_an_anonymity_that_hides_nothing_is_no_policy(grant: str) -> None:
    with pytest.raises(PolicyError):
        Policy(f"roles: {{a: [{{tables: [silver.bookings], {grant}}}]}}")


def test_what_is_sealed_is_opened_before_masks_and_comparisons() -> None:
    rows = ask("desk", "SELECT name, phone FROM silver.bookings WHERE name LIKE '%=name 7'").rows()
    assert [tuple(row) for row in rows] == [("silver.bookings.name=name 7", f"{'*' * 29}07")]


def test_nobody_opens_anything_where_nobody_can() -> None:
    assert len(ask("desk", "SELECT id, email FROM silver.bookings", reveals=False).rows()) == len(ROWS)
    with pytest.raises(AccessDeniedError, match=r"name of silver\.bookings is not revealed here"):
        ask("desk", "SELECT name FROM silver.bookings", reveals=False)
