"""Shop events, the same ones in every run, and what any pipeline must make of the first N of them.

Event number ``i`` happens ``i`` milliseconds after the first one. Of each thousand, one is bad (in a way that changes from
thousand to thousand) and one is a copy of an earlier event, so every path of a pipeline does work, and its result can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lakehouse.sources.replay import Event

FIRST_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: when the first event happens."""

COUNTRIES = ("AT", "BR", "CA", "DE", "FR", "IN", "JP", "US")
KINDS = ("view", "cart", "purchase", "refund")

_CHUNK = 100_000
_BAD, _COPY = 499, 999  # places in each thousand
_DELAY_MS = 250  # from happening to publication
_PAGES = (
    "/",
    "/offers/spring-sale/garden-and-outdoor/",
    "/products/",
    "/products/kitchen/appliances/small/coffee-and-tea/",
    "/search/results/sorted-by-price/",
)


@dataclass(frozen=True)
class Expected:
    """What is right for the first N events.

    Attributes:
        read: Rows of bronze.
        silver: Rows of silver.
        dead_letters: Bad records.
        gold: Country and minute (milliseconds since 1970) → number of events, sum of amounts.
    """

    read: int
    silver: int
    dead_letters: int
    gold: dict[tuple[str, int], tuple[int, int]]


def events(start: int, stop: int) -> Iterator[Event]:
    """Yield the events ``start`` … ``stop - 1``, ready to publish, in order of time."""
    for number in range(start // _CHUNK, -(-stop // _CHUNK)):
        first = number * _CHUNK
        values = list(_encoded(number))
        for place in range(max(start - first, 0), min(stop - first, _CHUNK)):
            index = first + place
            source = _source(index)
            yield Event(FIRST_MS + index + _DELAY_MS, _id(source).encode(), values[source - first])


def expected(count: int) -> Expected:
    """Compute what is right for the first ``count`` events, from the generator's own columns."""
    gold: dict[tuple[str, int], tuple[int, int]] = {}
    silver = bad = 0
    for number in range(-(-count // _CHUNK)):
        columns = _columns(number)
        index = np.arange(number * _CHUNK, min((number + 1) * _CHUNK, count))
        place = index % 1000
        good = (place != _BAD) & (place != _COPY)
        silver += int(good.sum())
        bad += int((place == _BAD).sum())
        minute, country = index[good] // 60_000, columns["country"][: len(index)][good]
        groups, inverse = np.unique(minute * len(COUNTRIES) + country, return_inverse=True)
        rows = np.bincount(inverse)
        amounts = np.bincount(inverse, weights=columns["amount"][: len(index)][good])  # exact: far below 2**53
        for group, n, amount in zip(groups.tolist(), rows.tolist(), amounts.tolist(), strict=True):
            key = (COUNTRIES[group % len(COUNTRIES)], FIRST_MS + group // len(COUNTRIES) * 60_000)
            before = gold.get(key, (0, 0))
            gold[key] = (before[0] + n, before[1] + int(amount))
    return Expected(count, silver, bad, gold)


def _source(index: int) -> int:
    """Return which event's bytes stand at a place: its own, or, for a copy, those of an earlier good one."""
    return index if index % 1000 != _COPY else index - 2 - index // 1000 % 400


def _id(index: int) -> str:
    return f"e{index:012d}"


def _columns(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([20260101, number])
    return {
        "kind": rng.integers(0, len(KINDS), _CHUNK),
        "country": rng.integers(0, len(COUNTRIES), _CHUNK),
        "page": rng.integers(0, len(_PAGES), _CHUNK),
        "item": rng.integers(0, 50_000, _CHUNK),
        "amount": rng.integers(0, 100_000, _CHUNK),
        "quantity": rng.integers(1, 10, _CHUNK),
        "user": rng.integers(0, 1_000_000, _CHUNK),
    }


def _encoded(number: int) -> Iterator[bytes]:
    first = number * _CHUNK
    columns = [column.tolist() for column in _columns(number).values()]
    moments = np.datetime_as_string((FIRST_MS + first + np.arange(_CHUNK)).astype("datetime64[ms]"), timezone="UTC").tolist()
    for place, (kind, country, page, item, amount, quantity, user) in enumerate(zip(*columns, strict=True)):
        index = first + place
        text = (
            f'{{"id":"{_id(index)}","happened_at":"{moments[place]}","kind":"{KINDS[kind]}","country":"{COUNTRIES[country]}",'
            f'"page":"{_PAGES[page]}item-{item}","amount":{amount},"quantity":{quantity},"user":"u{user:07d}"}}'
        )
        yield (text if index % 1000 != _BAD else _spoiled(text, index // 1000)).encode()


def _spoiled(text: str, turn: int) -> str:
    """Make an event bad in one of nine ways, by turns."""
    fields = text[1:-1].split(",")
    match turn % 9:
        case 0:
            return text[: len(text) * 2 // 3]
        case 1:
            return "no JSON at all"
        case 2:
            fields[6] = '"quantity":"three"'
        case 3:
            fields.pop(7)  # user
        case 4:
            fields[2] = '"kind":"teleport"'
        case 5:
            fields[5] = '"amount":-1'
        case 6:
            fields[3] = '"country":"Atlantis"'
        case 7:
            fields.pop(0)  # id, the key
        case 8:
            fields[4] = '"page":"home"'
    return "{" + ",".join(fields) + "}"
