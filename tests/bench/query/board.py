"""The table that dashboards show, what they ask of it, and the commits that arrive meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from lakehouse.clients import delta_rs
from lakehouse.settings import Settings

from .people import SHOPS

DAYS = 365
PRODUCTS = 20
COMMIT_SECONDS = 10.0

_FIRST = date(2025, 1, 1)

QUERIES = {
    "months": """
        SELECT date_trunc('month', day) AS month, sum(sales) AS sales, sum(revenue) AS revenue
        FROM gold.sales_by_day GROUP BY ALL ORDER BY month""",
    "products": """
        SELECT product, sum(sales) AS sales, sum(revenue) AS revenue FROM gold.sales_by_day
        WHERE day >= DATE '2025-12-01' GROUP BY product ORDER BY revenue DESC LIMIT 10""",
    "days": """
        SELECT day, shop, sum(revenue) AS revenue, sum(sum(revenue)) OVER (PARTITION BY shop ORDER BY day) AS so_far
        FROM gold.sales_by_day WHERE day >= DATE '2025-11-15' GROUP BY day, shop ORDER BY day, shop""",
    "customers": """
        SELECT best_customer, count(*) AS times, max(revenue) AS highest FROM gold.sales_by_day
        WHERE day >= DATE '2025-12-15' GROUP BY best_customer ORDER BY times DESC, best_customer LIMIT 20""",
}
"""What a dashboard asks, one at a time."""


def _days(first: int, count: int) -> Any:
    """Return the rows of some days; the same for the same days."""
    chance = np.random.default_rng(first)
    rows = count * SHOPS * PRODUCTS
    day, shop, product = np.unravel_index(np.arange(rows), (count, SHOPS, PRODUCTS))
    days = np.datetime64(_FIRST + timedelta(days=first)) + day
    return pa.table(
        {
            "day": pa.array(days, pa.date32()),
            "shop": pa.array(shop, pa.int32()),
            "product": pa.array([f"product {n}" for n in product]),
            "sales": pa.array(chance.poisson(40, rows), pa.int64()),
            "revenue": pa.array(np.round(chance.gamma(2, 500, rows), 2)),
            "best_customer": pa.array([f"c{n}@example.org" for n in chance.integers(0, 5_000, rows)]),
        }
    )


def _write(settings: Settings, rows: Any) -> None:
    uri = f"s3://{settings.s3.bucket}/gold/sales_by_day"
    write_deltalake(uri, rows, mode="append", storage_options=delta_rs(settings))


def fill(settings: Settings) -> None:
    """Write a year, in files of a month or so, in order of time."""
    for first in range(0, DAYS, 30):
        _write(settings, _days(first, min(30, DAYS - first)))


@contextmanager
def commits(settings: Settings) -> Iterator[list[float]]:
    """Commit a day every few seconds; yields a list of when that was, seconds since 1970."""
    over = threading.Event()
    done: list[float] = []

    def go_on() -> None:
        while not over.wait(COMMIT_SECONDS):
            _write(settings, _days(DAYS + len(done), 1))
            done.append(time.time())

    thread = threading.Thread(target=go_on, name="commits")
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()
