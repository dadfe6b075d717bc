"""TPC-H: regions."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("region", keys=["r_regionkey"])
def region() -> pd.DataFrame:
    """TPC-H's regions, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "region.parquet")
