"""Rows that follow each other, and the message that brings them to a subscriber.

What is done for one subscriber is done for all that ask alike: which rows match, how they are written, the message itself. It is
forgotten with the stretch, as soon as more rows come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import orjson
from msgspec import Struct, structs

from lakehouse.serving.push.filters import Filter, Value, as_json
from lakehouse.serving.push.shown import Shown

COALESCE_ROWS = 500
"""Rows of one message beyond which only the last of each key is sent."""

Row = Mapping[str, Any]


class Arrival(Struct, frozen=True, gc=False):
    """One row of a live topic.

    Garbage collections leave rows out: they hold what JSON can say, which is in no cycle, and to look at all that are kept would
    stop the service for a tenth of a second on a busy machine.

    Attributes:
        partition: Partition of the live topic.
        offset: Offset in it.
        gated_ms: When it left the gate, milliseconds since 1970.
        sent_us: When its producer sent the record, microseconds since 1970; ``None`` when nobody knows.
        row: The row.
        raw: The row as JSON, as it came.
        key: What names the row's thing.
    """

    partition: int
    offset: int
    gated_ms: int
    sent_us: int | None
    row: Row
    raw: bytes
    key: str


@dataclass(frozen=True)
class Wish:
    """What a subscriber gets of a feed; subscribers with equal wishes share the work.

    Attributes:
        filter: Which rows.
        columns: Which columns of them; empty: the row as it is, with the columns that say where it came from.
        every: Every row, however many there are.
        shown: What the policy shows of the rows, which is what filter and columns are about; ``None``: all.
    """

    filter: Filter = field(default_factory=Filter)
    columns: tuple[str, ...] = ()
    every: bool = False
    shown: Shown | None = None

    def write(self, row: Row) -> bytes:
        """Return a row as it is sent."""
        return orjson.dumps({name: row.get(name) for name in self.columns} if self.columns else row)


@dataclass(frozen=True)
class Message:
    """What a subscriber is sent.

    Attributes:
        text: The message.
        rows: How many it brings.
        gated_ms: When the oldest of its rows left the gate, milliseconds since 1970.
        sent_us: When the record of the oldest of its rows was sent, microseconds since 1970; ``None`` when nobody knows.
    """

    text: str
    rows: int
    gated_ms: int
    sent_us: int | None


class Stretch:
    """Rows that follow each other.

    Args:
        arrivals: The rows, in the order of each partition.
        position: The position after them.
    """

    def __init__(self, arrivals: Sequence[Arrival], position: str) -> None:
        self._arrivals = arrivals
        self._position = position
        self._messages: dict[Wish, Message | None] = {}
        self._written: dict[tuple[str, ...], dict[int, bytes]] = {}
        self._by_value: dict[str, dict[Value, list[int]]] = {}
        self._seen: dict[Shown, Stretch] = {}

    def message(self, wish: Wish) -> Message | None:
        """Return what a subscriber is sent; ``None`` when it wants none of the rows."""
        if wish.shown is not None:
            return self._as_seen(wish.shown).message(replace(wish, shown=None))
        if wish not in self._messages:
            numbers = self._matching(wish.filter)
            self._messages[wish] = self._message(wish, numbers) if numbers else None
        return self._messages[wish]

    def _as_seen(self, shown: Shown) -> Stretch:
        """Return the rows as those see them to whom they are shown so."""
        if shown not in self._seen:
            seen = ((arrival, shown(arrival.row)) for arrival in self._arrivals)
            arrivals = [structs.replace(arrival, row=row, raw=orjson.dumps(row)) for arrival, row in seen if row is not None]
            self._seen[shown] = Stretch(arrivals, self._position)
        return self._seen[shown]

    def _message(self, wish: Wish, numbers: Sequence[int]) -> Message:
        kept = self._last_of_each(numbers) if len(numbers) > COALESCE_ROWS and not wish.every else numbers
        gated_ms = min(self._arrivals[x].gated_ms for x in numbers)
        sent = [at for x in numbers if (at := self._arrivals[x].sent_us) is not None]
        head = {
            "type": "rows",
            "position": self._position,
            "coalesced": len(numbers) - len(kept),
            "gated_ms": gated_ms,
        }
        return Message(frame(head, [self._text(wish, x) for x in kept]), len(kept), gated_ms, min(sent, default=None))

    def _text(self, wish: Wish, number: int) -> bytes:
        """Return a row as it is sent, written once for all who want these columns."""
        if not wish.columns:
            return self._arrivals[number].raw
        written = self._written.setdefault(wish.columns, {})
        if number not in written:
            written[number] = wish.write(self._arrivals[number].row)
        return written[number]

    def _matching(self, wanted: Filter) -> Sequence[int]:
        """Return the numbers of the rows that match, in their order: values are looked at once, however many rows have them."""
        found: list[int] | None = None
        for column in wanted.columns:
            index = self._numbers(column)
            values = wanted.among(column, index.keys())
            numbers = sorted(chain.from_iterable(index[value] for value in values))
            found = numbers if found is None else sorted(set(found).intersection(numbers))
        return range(len(self._arrivals)) if found is None else found

    def _numbers(self, column: str) -> dict[Value, list[int]]:
        """Return the numbers of the rows by their value of a column."""
        if column not in self._by_value:
            index = self._by_value[column] = {}
            for number, arrival in enumerate(self._arrivals):
                index.setdefault(as_json(arrival.row.get(column)), []).append(number)
        return self._by_value[column]

    def _last_of_each(self, numbers: Sequence[int]) -> list[int]:
        """Return the last row of each key, in the order in which those came."""
        return sorted({self._arrivals[number].key: number for number in numbers}.values())


def frame(head: Mapping[str, Any], rows: Sequence[bytes]) -> str:
    """Return a message with rows that are written already."""
    return (orjson.dumps(head)[:-1] + b',"rows":[' + b",".join(rows) + b"]}").decode()
