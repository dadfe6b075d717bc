"""Turn each recorded flight into the events that its airports would have seen.

The file has schedule and delays, and clock times without a date; the rules that make moments of them:

- The scheduled departure is ``time_hour`` (UTC) and ``minute``; the actual one is ``dep_delay`` minutes later.
- The scheduled arrival is the first moment after the scheduled departure when a clock at the destination shows
  ``sched_arr_time``; the actual one is ``arr_delay`` minutes later. For 327,345 of the 327,346 flights with both, a clock
  there then shows ``arr_time``; the one exception lands within the hour that daylight saving time skips.
- A flight without ``dep_time`` (8,255) was cancelled; that is known at the scheduled departure.
- A diverted flight that still got there (717) has ``arr_time`` but no ``arr_delay``: it arrives at the first moment after
  its actual departure when a clock there shows ``arr_time``, without a ``delay``. One without ``arr_time`` (458) departs
  and never arrives.

An event is published a little after it happened: half a second to two minutes, taken from a hash of its identity, so that
order and times are the same in each replay.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pandas as pd

from lakehouse.replay.encode import encode, instants, integers, milliseconds, minutes, optional, publication_ms, published_between
from lakehouse.replay.nycflights13 import read, time_zones
from lakehouse.sources.replay import Event

CHUNK = 20_000
_SCHEDULE = [
    "flight_id",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "scheduled_departure",
    "scheduled_arrival",
    "distance",
]


def events(start: datetime | None = None, end: datetime | None = None) -> Iterator[Event]:
    """Yield the events published in ``[start, end)``, ordered by moment of publication and key.

    Args:
        start: First moment, UTC when it has no zone; the beginning of the data when left out.
        end: First moment that is no more wanted; the end of the data when left out.
    """
    raw = read("flights")
    early = _publications(_flights(raw.head(0)))
    for month in range(1, 13):
        # A flight publishes its last event within days of its month, on New York's calendar, and its first in it, in UTC.
        if start is not None and milliseconds(start) > milliseconds(datetime(2013 + month // 12, month % 12 + 1, 8)):
            continue
        if end is not None and milliseconds(end) <= milliseconds(datetime(2013, month, 1)):
            break
        table = pd.concat([early, _publications(_flights(raw[raw["month"] == month]))]).sort_values(["published_ms", "flight_id"])
        ready = published_between(table, None, datetime(2013, month + 1, 1)) if month < 12 else table
        early = table.iloc[len(ready) :]
        ready = published_between(ready, start, end)
        for first in range(0, len(ready), CHUNK):
            yield from _encode(ready.iloc[first : first + CHUNK])


def _publications(flights: pd.DataFrame) -> pd.DataFrame:
    departs = flights["departure"].notna()
    departed, arrived, cancelled = flights[departs], flights[flights["arrival"].notna()], flights[~departs]
    table = pd.concat(
        [
            departed.assign(event="departed", event_time=departed["departure"], delay=departed["dep_delay"], air_time=np.nan),
            arrived.assign(event="arrived", event_time=arrived["arrival"], delay=arrived["arr_delay"]),
            cancelled.assign(event="cancelled", event_time=cancelled["scheduled_departure"], delay=np.nan, air_time=np.nan),
        ]
    )
    table["published_ms"] = publication_ms(table["event_time"], table["flight_id"] + table["event"], 500, 120_000)
    return table[[*_SCHEDULE, "event", "event_time", "delay", "air_time", "published_ms"]]


def _flights(raw: pd.DataFrame) -> pd.DataFrame:
    scheduled = pd.to_datetime(raw["time_hour"], format="%Y-%m-%dT%H:%M:%SZ") + minutes(raw["minute"])
    departure = scheduled + minutes(raw["dep_delay"])
    zones = raw["dest"].map(time_zones())
    scheduled_arrival = _next_clock(scheduled, raw["sched_arr_time"], zones)
    arrival = scheduled_arrival + minutes(raw["arr_delay"])
    diverted = raw["arr_delay"].isna() & raw["arr_time"].notna()
    arrival[diverted] = _next_clock(departure[diverted], raw["arr_time"][diverted], zones[diverted])
    # The date on the ticket, not the UTC date: a number flies twice within one UTC day where its evening departure moves.
    day = np.datetime_as_string(pd.to_datetime(raw[["year", "month", "day"]]).to_numpy(), unit="D").astype(object)
    return raw.assign(
        flight_id=day + "-" + raw["carrier"] + "-" + raw["flight"].astype(str) + "-" + raw["origin"],
        scheduled_departure=scheduled,
        scheduled_arrival=scheduled_arrival,
        departure=departure,
        arrival=arrival,
    )


def _next_clock(after: pd.Series[pd.Timestamp], hhmm: pd.Series[float], zones: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Return the first moment after ``after`` (naive UTC) when a clock in ``zones`` shows ``hhmm`` (2400 is midnight)."""
    result = pd.Series(pd.NaT, index=after.index, dtype="datetime64[ns]")
    of_day = minutes(hhmm // 100 % 24 * 60 + hhmm % 100)
    for zone in zones.unique():
        rows = zones.index[zones == zone]
        local = after[rows].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
        clock = local.dt.normalize() + of_day[rows]
        clock += pd.to_timedelta((clock <= local).astype("int64"), unit="D")
        moment = clock.dt.tz_localize(zone, ambiguous=np.ones(len(rows), dtype=bool), nonexistent="shift_forward")
        result[rows] = moment.dt.tz_convert("UTC").dt.tz_localize(None)
    return result


def _encode(table: pd.DataFrame) -> Iterator[Event]:
    columns = {
        "flight_id": table["flight_id"].tolist(),
        "event": table["event"].tolist(),
        "event_time": instants(table["event_time"]),
        "carrier": table["carrier"].tolist(),
        "flight": table["flight"].tolist(),
        "tailnum": optional(table["tailnum"]),
        "origin": table["origin"].tolist(),
        "dest": table["dest"].tolist(),
        "scheduled_departure": instants(table["scheduled_departure"]),
        "scheduled_arrival": instants(table["scheduled_arrival"]),
        "distance": table["distance"].tolist(),
        "delay": integers(table["delay"]),
        "air_time": integers(table["air_time"]),
    }
    keys = (x.encode() for x in columns["flight_id"])
    yield from map(Event, table["published_ms"].tolist(), keys, encode(columns))
