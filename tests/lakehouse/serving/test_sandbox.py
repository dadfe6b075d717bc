"""Sandboxes that are used again are as closed as others, and nothing of a query is left in them."""

from __future__ import annotations

import os
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest

from lakehouse.serving.pool import Pool
from lakehouse.serving.sandbox import Late, Sandboxes


def test_nothing_of_a_query_is_left_for_the_next_one() -> None:
    sandboxes = Sandboxes(1)
    first = Late(sandboxes)
    first().register("mine", pa.table({"x": [1]}))
    assert first().execute("FROM mine").fetchall() == [(1,)]
    used = sandboxes._pool.take  # what waits is looked at below
    first.close()
    second = Late(sandboxes)
    with pytest.raises(duckdb.CatalogException):
        second().execute("FROM mine")
    with pytest.raises(duckdb.Error):
        second().execute("SET enable_external_access = true")
    assert second().execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]
    second.close()
    assert used("")[1], "it was kept"
    sandboxes.close()


def test_two_queries_at_once_have_two_sandboxes() -> None:
    sandboxes = Sandboxes(2)
    first, second = Late(sandboxes), Late(sandboxes)
    first().execute("CREATE TABLE shared AS SELECT 1 AS x")  # which no user's text can
    with pytest.raises(duckdb.CatalogException):
        second().execute("FROM shared")
    first.close()
    second.close()
    sandboxes.close()


def test_one_that_broke_is_not_used_again() -> None:
    sandboxes = Sandboxes(1)
    broken = sandboxes.take()
    broken.close()
    sandboxes.give_back(broken)
    late = Late(sandboxes)
    assert late().execute("SELECT 1").fetchall() == [(1,)]
    late.close()
    sandboxes.close()


def test_a_sandbox_is_opened_when_it_is_needed() -> None:
    sandboxes = Sandboxes(1)
    late = Late(sandboxes)
    late.interrupt()
    late.close()
    assert not sandboxes._pool.take("")[1], "none was opened"
    assert late() is late()
    late.close()
    sandboxes.close()


def test_its_clock_is_utc_wherever_the_machine_is() -> None:
    look = "SELECT current_setting('TimeZone')"
    script = (
        "from lakehouse.serving.sandbox import Late, Sandboxes, own\n"
        f"print(own().cursor().execute({look!r}).fetchall() + Late(Sandboxes(1))().execute({look!r}).fetchall())"
    )
    environment = os.environ | {"TZ": "America/New_York"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('UTC',), ('UTC',)]"


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
