"""Sandboxes that wait are as closed as others, and each is used once."""

from __future__ import annotations

import duckdb
import pytest

from lakehouse.serving.pool import Pool
from lakehouse.serving.sandbox import Late, Spares


def test_each_spare_is_a_database_of_its_own_and_opens_nothing() -> None:
    spares = Spares(2)
    try:
        taken = [spares() for _ in range(5)]
        taken[0].execute("CREATE TABLE mine AS SELECT 1 AS x")
        for other in taken[1:]:
            with pytest.raises(duckdb.CatalogException):
                other.execute("FROM mine")
            with pytest.raises(duckdb.Error):
                other.execute("SET enable_external_access = true")
            other.close()
        taken[0].close()
    finally:
        spares.close()
    assert not spares._thread.is_alive()
    assert spares._waiting.empty()


def test_a_sandbox_is_opened_when_it_is_needed() -> None:
    opened: list[duckdb.DuckDBPyConnection] = []

    def open_one() -> duckdb.DuckDBPyConnection:
        opened.append(duckdb.connect())
        return opened[-1]

    late = Late(open_one)
    late.interrupt()
    late.close()
    assert not opened
    assert late() is late()
    late.close()
    assert len(opened) == 1
    with pytest.raises(duckdb.ConnectionException):
        opened[0].execute("SELECT 1")


def test_a_pool_lends_what_is_to_the_same_place_and_keeps_a_few() -> None:
    made, closed = [], []

    def make(dsn: str) -> list[str]:
        made.append([dsn])
        return made[-1]

    pool = Pool(make, closed.append, 2)
    first, is_used = pool.take("a")
    assert not is_used
    pool.give("a", first)
    assert pool.take("b") == (["b"], False)
    assert pool.take("a") == (first, True)
    assert pool.take("a")[1] is False
    for name in ("x", "y", "z"):
        pool.give(name, [name])
    assert closed == [["x"]]
    pool.close()
    assert closed == [["x"], ["y"], ["z"]]
