"""Airlines."""

import pandas as pd

from lakehouse.catalog import reference
from lakehouse.replay.nycflights13 import read


@reference("airlines", keys=["carrier"])
def airlines() -> pd.DataFrame:
    """Name of each airline, by its two-letter code."""
    return read("airlines")[["carrier", "name"]]
