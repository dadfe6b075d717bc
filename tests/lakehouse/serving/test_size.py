"""A query that would read too much is refused before it reads, by what the log says of the files."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse.errors import QueryTooLargeError
from lakehouse.security.policy import Policy
from lakehouse.security.users import User
from lakehouse.serving.governed import GovernedSource
from lakehouse.serving.query import QueryResult, answer
from lakehouse.serving.tables import Location, lake

START = datetime(2013, 1, 1, tzinfo=UTC)
FILES, ROWS = 4, 1_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("size")
    for number in range(FILES):
        ids = range(number * ROWS, (number + 1) * ROWS)
        rows = pa.table(
            {
                "id": pa.array(ids, pa.int64()),
                "name": [f"n{n:05}" for n in ids],
                "at": pa.array([START + timedelta(hours=n) for n in ids], pa.timestamp("us", "UTC")),
                "day": [date(2013, 1, 1) + timedelta(days=number) for _ in ids],
                "note": pa.array([None if number == 0 else f"{n * 7919 % 10_007}" for n in ids], pa.string()),
            }
        )
        write_deltalake(folder / "silver/flights", rows, mode="append")
    return folder


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("silver/flights/*.parquet"))


def ask(folder: Path, sql: str, max_bytes: int) -> QueryResult:
    open_source = lake(lambda name: Location(str(folder / name.replace(".", "/"))))
    return answer(sql, ["silver.flights"], open_source, max_bytes=max_bytes, limit=FILES * ROWS)


@pytest.mark.parametrize(
    ("condition", "files"),
    [
        ("true", 4),
        ("id = 1500", 1),
        ("id IN (1, 3999)", 2),
        ("id < 1000", 1),
        ("id BETWEEN 500 AND 1500", 2),
        ("id >= 3000", 1),
        ("name = 'n00001'", 1),
        ("name > 'n02999'", 1),
        ("name >= 'n02999'", 2),
        ("\"at\" >= TIMESTAMP '2013-06-01 00:00:00'", 1),
        ("day = DATE '2013-01-02'", 1),
        ("day = '2013-01-02'", 1),
        ("note = '7'", 4),  # a file without values has no bounds
        ("id + 0 = 1500", 4),
        ("id = 1.5", 4),
        ("id = 1500 OR name = 'x'", 4),
    ],
)
def test_only_files_that_can_hold_such_rows_count(condition: str, files: int, folder: Path) -> None:
    sql, whole = f"FROM silver.flights WHERE {condition}", size(folder)
    bound = round(whole * (files - 0.5) / FILES)
    with pytest.raises(QueryTooLargeError, match=r"read more than [\d,]+ MB of files") as refusal:
        ask(folder, sql, bound)
    assert "silver.flights" in str(refusal.value)
    ask(folder, sql, round(whole * (files + 0.5) / FILES))


def test_only_columns_that_are_needed_count(folder: Path) -> None:
    bound = round(size(folder) * 1.5 / 5)
    assert ask(folder, "SELECT count(id) FROM silver.flights", bound).rows() == [(FILES * ROWS,)]
    assert ask(folder, "SELECT count(*) FROM silver.flights", bound).rows() == [(FILES * ROWS,)]
    with pytest.raises(QueryTooLargeError):
        ask(folder, "SELECT id, name FROM silver.flights", bound)


def test_a_view_counts_what_the_policy_reads(folder: Path) -> None:
    grant = "{tables: [silver.flights], columns: [id, name], rows: [{column: id, lt: 1000}], masks: {name: hash}}"
    view = Policy(f"roles: {{analyst: [{grant}]}}").view(User("ada", "north", ("analyst",)), "silver.flights")
    source = GovernedSource(lake(lambda _: Location(str(folder / "silver/flights")))("silver.flights", None), view, b"m" * 32)
    one_file = source.stored_bytes(["id", "name"], ())
    assert one_file is not None
    assert one_file < size(folder) * 2 / 5 / 2
    # The user's own condition is on the masked value, which no file's bounds are about.
    (found,) = _conditions("name = 'n00001'")
    assert source.stored_bytes(["id", "name"], [found]) == one_file


def _conditions(text: str) -> tuple[object, ...]:
    from lakehouse.serving.statement import check

    return check(f"FROM silver.flights WHERE {text}", ["silver.flights"]).filters["silver.flights"]
