"""TPC-H: suppliers."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("supplier", keys=["s_suppkey"])
def supplier() -> pd.DataFrame:
    """TPC-H's suppliers, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "supplier.parquet")
