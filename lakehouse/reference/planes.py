"""Planes."""

import pandas as pd

from lakehouse.catalog import reference
from lakehouse.replay.nycflights13 import read


@reference("planes", keys=["tailnum"])
def planes() -> pd.DataFrame:
    """Build year, maker and model, seats, engines and cruising speed (miles an hour) of each plane, by its tail number."""
    table = read("planes")[["tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine"]]
    return table.astype({"year": "Int32", "engines": "int32", "seats": "int32", "speed": "Int32"})
