"""TPC-H: nations."""

from pathlib import Path

import pandas as pd

from lakehouse.catalog import reference


@reference("nation", keys=["n_nationkey"])
def nation() -> pd.DataFrame:
    """TPC-H's nations, as `tpchgen-cli` makes them."""
    return pd.read_parquet(Path(__file__).parents[1] / "tpch" / "nation.parquet")
