"""Make up who flew: one seat on about every tenth recorded flight, each booked in the three days before it.

Passengers are Faker's, from a fixed seed, at domains that belong to nobody; each flies with one airline, about six times a year.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from faker import Faker

from lakehouse.replay.encode import encode, instants, minutes, publication_ms, published_between
from lakehouse.replay.nycflights13 import read
from lakehouse.sources.replay import Event

_SEED = 2013
_ONE_IN = 10
_TRIPS = 6
_WAIT_MINUTES = 71 * 60
_ROWS, _SEATS = 30, "ABCDEF"


def events(start: datetime | None = None, end: datetime | None = None) -> Iterator[Event]:
    """Yield the bookings published in ``[start, end)``, ordered by moment of publication and key.

    Args:
        start: First moment, UTC when it has no zone; the beginning of the data when left out.
        end: First moment that is no more wanted; the end of the data when left out.
    """
    table = published_between(_bookings(read("flights")), start, end).sort_values(["published_ms", "booking_id"])
    columns: dict[str, list[Any]] = {
        "booking_id": table["booking_id"].tolist(),
        "booked_at": instants(table["booked_at"]),
        "carrier": table["carrier"].tolist(),
        "flight_id": table["flight_id"].tolist(),
        **{name: table[name].tolist() for name in ("passenger", "email", "phone", "document", "seat", "fare")},
    }
    keys = (x.encode() for x in columns["booking_id"])
    yield from map(Event, table["published_ms"].tolist(), keys, encode(columns))


def _bookings(raw: pd.DataFrame) -> pd.DataFrame:
    day = np.datetime_as_string(pd.to_datetime(raw[["year", "month", "day"]]).to_numpy(), unit="D").astype(object)
    raw["flight_id"] = day + "-" + raw["carrier"] + "-" + raw["flight"].astype(str) + "-" + raw["origin"]
    hashes = pd.util.hash_array(raw["flight_id"].to_numpy(), categorize=False)
    booked = hashes % np.uint64(_ONE_IN) == 0
    table = raw[booked].reset_index(drop=True)
    chance = (hashes[booked] >> np.uint64(8)).astype("int64")  # parts of it decide independently of each other
    departure = pd.to_datetime(table["time_hour"], format="%Y-%m-%dT%H:%M:%SZ") + minutes(table["minute"])
    table["booked_at"] = departure - pd.to_timedelta(60 + chance % _WAIT_MINUTES, unit="min")
    table["booking_id"] = [f"{x:016X}" for x in hashes[booked].tolist()]
    table["published_ms"] = publication_ms(table["booked_at"], table["booking_id"], 500, 5_000)
    table["seat"] = [f"{x // len(_SEATS) % _ROWS + 1}{_SEATS[x % len(_SEATS)]}" for x in (chance // _WAIT_MINUTES).tolist()]
    table["fare"] = (40 + table["distance"] * (0.08 + chance % 97 / 1000)).round(2)
    flyers = np.maximum(table.groupby("carrier")["flight_id"].transform("size").to_numpy() // _TRIPS, 1)
    whole: pd.DataFrame = table.join(_people(table["carrier"] + pd.Series(chance // 7 % flyers).astype(str)))
    return whole


def _people(who: pd.Series[Any]) -> pd.DataFrame:
    """Return a made-up person for each row, the same one for the same name, whichever part of the year is asked for."""
    number, names = pd.factorize(who, sort=True)
    fake = Faker("en_US")
    fake.seed_instance(_SEED)
    made = [(fake.name(), fake.unique.safe_email(), fake.numerify("+1-202-555-01##"), fake.passport_number()) for _ in names]
    return pd.DataFrame(made, columns=["passenger", "email", "phone", "document"]).take(number).reset_index(drop=True)
