"""Many who ask the same at once wait for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import valkey
from arro3.core import Table

from lakehouse.errors import QueryFailedError
from lakehouse.serving.gateway.cache import Answer, Cache
from lakehouse.serving.query import QueryResult
from lakehouse.serving.statement import check

NOWHERE = valkey.Valkey(port=9, socket_connect_timeout=0.1)
RESULT = QueryResult((), (), Table.from_pydict({}), {}, 0.0, False)


class Work:
    """Takes a while, and counts how often it is done."""

    def __init__(self, fails: int = 0) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.times = 0
        self._fails = fails

    def __call__(self) -> Answer:
        self.times += 1
        number = self.times
        self.begun.set()
        assert self.go_on.wait(10)
        if number <= self._fails:
            raise QueryFailedError("gave up")
        return RESULT, {"silver.flights": ["id"]}


def together(cache: Cache, work: Work, count: int) -> list[Callable[[], Answer]]:
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(cache.once, "key", work)]
        assert work.begun.wait(10)
        asked += [pool.submit(cache.once, "key", work) for _ in range(count - 1)]
        time.sleep(0.3)  # they wait by now
        work.go_on.set()
    return [future.result for future in asked]


def test_one_works_and_the_others_wait() -> None:
    cache, work = Cache(NOWHERE, 60), Work()
    answers = [result() for result in together(cache, work, 8)]
    assert work.times == 1
    assert all(answer == (RESULT, {"silver.flights": ["id"]}) for answer in answers)
    cache.once("key", work)  # and afterwards somebody works again
    assert work.times == 2


def test_when_the_one_gives_up_the_others_work() -> None:
    work = Work(fails=1)
    first, *others = together(Cache(NOWHERE, 60), work, 3)
    with pytest.raises(QueryFailedError):
        first()
    assert [other() for other in others] == [(RESULT, {"silver.flights": ["id"]})] * 2
    assert work.times == 3


def test_without_valkey_nothing_is_kept() -> None:
    cache = Cache(NOWHERE, 60)
    cache.put("key", "north", (RESULT, {}))
    assert cache.get("key") is None


def test_what_is_the_same_query_and_what_may_change() -> None:
    def digest(sql: str) -> tuple[str, bool]:
        found = check(sql, ["silver.flights"], with_parameters=True)
        return found.digest, found.is_stable

    same = digest("SELECT id, carrier FROM silver.flights WHERE id < 5")
    assert same[1]
    assert digest("select  id,carrier\nfrom silver.flights -- all\nwhere id<5") == same
    for other in (
        "SELECT id, carrier FROM silver.flights WHERE id < 6",
        "SELECT id, carrier FROM silver.flights WHERE id <= 5",
        "SELECT id, carrier AS c FROM silver.flights WHERE id < 5",
        "SELECT carrier, id FROM silver.flights WHERE id < 5",
        "SELECT id, carrier FROM silver.flights WHERE id < $1",
        "SELECT id, carrier FROM silver.flights WHERE id < '5'",
    ):
        assert digest(other)[0] != same[0], other
        assert digest(other)[1], other
    for changing in (
        "SELECT now()",
        "SELECT current_timestamp FROM flights",
        "SELECT CURRENT_DATE FROM flights",
        "SELECT localtimestamp",
        "FROM flights WHERE random() < 0.5",
        "SELECT gen_random_uuid() FROM flights",
        "FROM flights TABLESAMPLE 10%",
        "WITH c AS (SELECT today() AS t) FROM c",
        "SELECT current_localtimestamp()",
        "SELECT ago(INTERVAL 1 DAY)",
        "SELECT age(TIMESTAMP '2013-01-01')",
    ):
        assert not digest(changing)[1], changing
