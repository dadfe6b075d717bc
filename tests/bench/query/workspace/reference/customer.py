"""TPC-H: customers."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("customer", keys=["c_custkey"])
def customer() -> pd.DataFrame:
    """TPC-H's customers, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "customer.parquet")
