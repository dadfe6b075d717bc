"""TPC-H: lines of orders."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("lineitem", keys=["l_orderkey", "l_linenumber"])
def lineitem() -> pd.DataFrame:
    """TPC-H's lines of orders, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "lineitem.parquet")
