"""Small tables are read once for each version, whoever asks, and let go of when there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse.errors import TidemillError
from lakehouse.security.policy import Policy
from lakehouse.security.users import User
from lakehouse.serving import tables
from lakehouse.serving.governed import govern
from lakehouse.serving.held import HeldSource, Holding
from lakehouse.serving.pushdown import Condition
from lakehouse.serving.query import answer
from lakehouse.serving.tables import DeltaSource, Location, Recent, lake

POLICY = Policy("""
roles:
  analyst:
    - tables: ["*"]
      columns: [id, name]
      rows: [{column: shop, in: {claim: shops}}]
      masks: {name: {partial: {first: 1}}}
""")


@pytest.fixture
def opened(tmp_path: Path) -> Recent:
    for table in ("one", "two"):
        write(tmp_path, table, range(1_000))
    return Recent(lake(lambda name: Location(str(tmp_path / name))), 0)


def write(root: Path, table: str, ids: Sequence[int]) -> None:
    rows = {"id": [*ids], "shop": [x % 3 for x in ids], "name": [f"name {x}" for x in ids]}
    write_deltalake(root / f"gold.{table}", pa.table(rows), mode="append")


def test_who_asks_again_gets_it_from_memory_until_there_is_another_version(opened: Recent, tmp_path: Path) -> None:
    holding = Holding(opened, 100_000_000)
    assert isinstance(holding("gold.one", None), DeltaSource)
    for _ in range(3):
        held = holding("gold.one", None)
        assert isinstance(held, HeldSource)
        assert held.version == 0
    assert isinstance(holding("gold.one", 0), DeltaSource)  # an older version is not what many ask for
    write(tmp_path, "one", [5_000])
    assert isinstance(holding("gold.one", None), DeltaSource)
    again = holding("gold.one", None)
    assert isinstance(again, HeldSource)
    assert again.version == 1
    assert 5_000 in again.scan(["id"], ()).column("id").to_pylist()


def test_each_user_still_sees_their_rows_and_masks(opened: Recent) -> None:
    holding = Holding(opened, 100_000_000)
    for turn in range(3):
        for shop in range(3):
            views = POLICY.visible(User("u", "t", ("analyst",), {"shops": (shop,)}), ["gold.one"])
            found = answer("FROM gold.one WHERE id < 10 ORDER BY id", list(views), govern(holding, views, b"m" * 32)).rows()
            assert found == [(x, "n" + "*" * 5) for x in range(10) if x % 3 == shop], turn
    views = POLICY.visible(User("u", "t", ("analyst",), {"shops": (0,)}), ["gold.one"])
    with pytest.raises(TidemillError, match="shop"):
        answer("SELECT shop FROM gold.one", list(views), govern(holding, views, b"m" * 32))


def test_the_one_that_nobody_asked_for_longest_goes_first_and_large_ones_do_not_come(opened: Recent) -> None:
    holding: Any = Holding(opened, 0)
    assert isinstance([holding("gold.one", None) for _ in range(3)][-1], DeltaSource)
    holding = Holding(opened, 10**9)
    for name in ("gold.one", "gold.two"):
        assert isinstance([holding(name, None) for _ in range(2)][-1], HeldSource)
    holding._most = int(holding._kept["gold.two"].nbytes * 1.5)
    holding._make_room()
    assert [*holding._kept] == ["gold.two"]


@pytest.mark.parametrize(
    ("condition", "left", "is_exact"),
    [
        (Condition("ID", "=", (("INTEGER", "1"), ("INTEGER", "4"))), [1, 4], True),
        (Condition("id", "<", (("INTEGER", "3"),)), [1, 2], True),
        (Condition("id", "=", (("INTEGER", "99999999999"),)), [], True),
        (Condition("name", "=", (("STRING", "é"),)), [2], True),
        (Condition("day", ">=", (("DATE", "2013-01-03"),)), [3, 4], True),
        (Condition("at", "<", (("STRING", "2013-01-03"),)), [1, 2], False),
        (Condition("day", "=", (("DATE", "2013-02-30"),)), [1, 2, 3, 4], False),  # what is not understood leaves nothing out
        (Condition("id", "=", (("STRING", "1"),)), [1, 2, 3, 4], False),
        (Condition("other", "=", (("INTEGER", "1"),)), [1, 2, 3, 4], False),
    ],
)
def test_rows_that_cannot_matter_are_left_out(tmp_path: Path, condition: Condition, left: list[int], is_exact: bool) -> None:
    days = [datetime(2013, 1, x, tzinfo=UTC) for x in (1, 2, 3, 4)]
    rows = {
        "id": pa.array([1, 2, 3, 4], pa.int32()),
        "name": ["a", "é", None, "c"],
        "day": [x.date() for x in days],
        "at": pa.array(days, pa.timestamp("us", "UTC")),
    }
    write_deltalake(tmp_path / "gold.one", pa.table(rows))
    holding = Holding(Recent(lake(lambda name: Location(str(tmp_path / name))), 60), 10**9)
    held = [holding("gold.one", None) for _ in range(2)][-1]
    assert isinstance(held, HeldSource)
    assert held.scan(["id"], [condition]).column("id").to_pylist() == left
    only = held.scan_only(["id"], [condition], ())  # as a policy's it must mean the same everywhere
    assert (only is not None) == is_exact
    assert only is None or only.column("id").to_pylist() == left


def test_what_a_view_shows_is_found_once_and_not_more_is_kept_than_the_table_is_large(opened: Recent) -> None:
    holding = Holding(opened, 10**9)
    held: Any = [holding("gold.one", None) for _ in range(2)][-1]
    shops = [(Condition("shop", "=", (("INTEGER", str(shop)),)),) for shop in range(2)]
    for _ in range(2):
        for shop, own in enumerate(shops):
            more = [Condition("id", "<", (("INTEGER", "9"),))]
            assert held.scan_only(["id"], own, more).column("id").to_pylist() == [shop, shop + 3, shop + 6]
    assert [*held._shown] == shops
    assert held.scan_only(["id"], (), ()).num_rows == 1_000
    held.scan_only(["id"], (Condition("id", ">=", (("INTEGER", "0"),)),), ())  # all of them
    assert len(held._shown) < 3
    assert held._shown_bytes == sum(x.nbytes for x in held._shown.values()) <= held._table.nbytes
    assert held.nbytes >= held._shown_bytes + held._table.nbytes


def test_one_looks_for_a_newer_version_and_the_others_do_not_wait(opened: Recent, monkeypatch: pytest.MonkeyPatch) -> None:
    recent, now = Recent(opened._open, 10.0), [0.0]
    monkeypatch.setattr(tables.time, "monotonic", lambda: now[0])
    assert recent.known("gold.one") is None
    first = recent("gold.one", None)
    now[0] = 4.0
    assert recent.known("gold.one") is first
    now[0] = 6.0
    assert recent.known("gold.one") is None  # who asks is to look
    with recent._locks["gold.one"]:  # somebody does
        assert recent.known("gold.one") is first
        now[0] = 11.0
        assert recent.known("gold.one") is None
    assert recent("gold.one", None) is first  # there was none
    assert recent.known("gold.one") is first
