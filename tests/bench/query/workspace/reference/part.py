"""TPC-H: parts."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("part", keys=["p_partkey"])
def part() -> pd.DataFrame:
    """TPC-H's parts, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "part.parquet")
