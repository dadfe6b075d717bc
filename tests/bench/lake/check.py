"""A contender whose tables are wrong is an error, not a figure."""

from __future__ import annotations

from deltalake import DeltaTable

from lakehouse.account import count_rows
from lakehouse.serving.tables import lake_locator
from lakehouse.settings import Settings

from ..errors import BenchError
from .generate import Expected


def check(contender: str, settings: Settings, expected: Expected) -> None:
    """Compare a contender's tables with what the generator says: rows of bronze, silver and dead letters, and all of gold.

    Raises:
        BenchError: They differ.
    """
    locate = lake_locator(settings)
    for table, rows in (
        ("bronze.events", expected.read),
        ("silver.events", expected.silver),
        ("dead_letters.events", expected.dead_letters),
    ):
        if (found := count_rows(locate(table))) != rows:
            raise BenchError(f"{contender} is wrong: {table} has {found:,} rows and should have {rows:,}.")
    location = locate("gold.events_by_minute")
    gold = DeltaTable(location.uri, storage_options=dict(location.options)).to_pyarrow_table()
    found_gold = {
        (row["country"], round(row["minute"].timestamp() * 1000)): (row["events"], row["amount"]) for row in gold.to_pylist()
    }
    if len(gold) != len(found_gold) or found_gold != expected.gold:
        wrong = [key for key in expected.gold.keys() | found_gold.keys() if expected.gold.get(key) != found_gold.get(key)]
        raise BenchError(
            f"{contender} is wrong: gold has {len(gold):,} rows and should have {len(expected.gold):,}; {len(wrong):,} differ."
        )
