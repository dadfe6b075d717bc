"""TPC-H: which supplier has which part."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("partsupp", keys=["ps_partkey", "ps_suppkey"])
def partsupp() -> pd.DataFrame:
    """TPC-H's which supplier has which part, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "partsupp.parquet")
