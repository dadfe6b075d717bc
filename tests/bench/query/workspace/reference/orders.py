"""TPC-H: orders."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("orders", keys=["o_orderkey"])
def orders() -> pd.DataFrame:
    """TPC-H's orders, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "orders.parquet")
