"""Turn each hourly weather observation at the three airports into an event, published one to ten minutes after the hour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pandas as pd

from lakehouse.replay.encode import encode, instants, optional, publication_ms, published_between
from lakehouse.replay.nycflights13 import read
from lakehouse.sources.replay import Event

_MEASURED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def events(start: datetime | None = None, end: datetime | None = None) -> Iterator[Event]:
    """Yield the observations published in ``[start, end)``, ordered by moment of publication and key.

    Args:
        start: First moment, UTC when it has no zone; the beginning of the data when left out.
        end: First moment that is no more wanted; the end of the data when left out.
    """
    raw = read("weather")
    observed = pd.to_datetime(raw["time_hour"], format="%Y-%m-%dT%H:%M:%SZ")
    raw["published_ms"] = publication_ms(observed, raw["origin"] + raw["time_hour"], 60_000, 600_000)
    table = published_between(raw, start, end).sort_values(["published_ms", "origin"])
    columns = {
        "origin": table["origin"].tolist(),
        "observed_at": instants(pd.to_datetime(table["time_hour"], format="%Y-%m-%dT%H:%M:%SZ")),
        **{name: optional(table[name]) for name in _MEASURED},
    }
    keys = (x.encode() for x in columns["origin"])
    yield from map(Event, table["published_ms"].tolist(), keys, encode(columns))
