"""The recent rows of one live topic, in memory, by the batches in which they came.

All subscribers read the same rows, so what one of them needs is done once for all that ask alike: which rows of a batch match, and
how they are written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from lakehouse.serving.push.filters import Filter, Value, as_json

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Arrival:
    """One row of a live topic.

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
    """

    filter: Filter = field(default_factory=Filter)
    columns: tuple[str, ...] = ()

    def encode(self, arrival: Arrival) -> bytes:
        """Return a row that came as it is sent."""
        return self.write(arrival.row) if self.columns else arrival.raw

    def write(self, row: Row) -> bytes:
        """Return a row as it is sent."""
        return orjson.dumps({name: row.get(name) for name in self.columns} if self.columns else row)


@dataclass(frozen=True)
class Encoded:
    """A row that matches, as it is sent."""

    partition: int
    offset: int
    gated_ms: int
    sent_us: int | None
    key: str
    text: bytes


class Batch:
    """Rows that came together, in the order of each partition."""

    def __init__(self, number: int, arrivals: Sequence[Arrival], ends: Mapping[int, int]) -> None:
        self.number = number
        self.arrivals = arrivals
        self.ends = ends
        """Partition → the offset after the last row up to here, of all partitions."""
        self._wanted: dict[Wish, list[Encoded]] = {}
        self._by_value: dict[str, dict[Value, list[Arrival]]] = {}

    def wanted(self, wish: Wish) -> list[Encoded]:
        """Return the rows that a subscriber wants; worked out once for all with the same wish."""
        found = self._wanted.get(wish)
        if found is None:
            found = [
                Encoded(x.partition, x.offset, x.gated_ms, x.sent_us, x.key, wish.encode(x))
                for x in self._candidates(wish.filter)
                if wish.filter.matches(x.row)
            ]
            self._wanted[wish] = found
        return found

    def _candidates(self, wanted: Filter) -> Sequence[Arrival]:
        """Return the rows that can match: those with the one value that a column may have, looked up rather than compared."""
        for column, values in wanted.within:
            if len(values) == 1:
                if column not in self._by_value:
                    index = self._by_value[column] = {}
                    for arrival in self.arrivals:
                        index.setdefault(as_json(arrival.row.get(column)), []).append(arrival)
                (value,) = values
                return self._by_value[column].get(value, [])
        return self.arrivals


class Ring:
    """The last batches of a live topic, and the position that follows them.

    Args:
        topic_id: The id that the broker gave the topic; a topic that is made again has another, and its offsets mean other rows.
        capacity: Rows to keep, at least.
        begins: Partition → the offset from which on rows will come.
    """

    def __init__(self, topic_id: str, capacity: int, begins: Mapping[int, int]) -> None:
        self.topic_id = topic_id
        self._capacity = capacity
        self._batches: deque[Batch] = deque()
        self._rows = 0
        self._next = 0
        self._begins = dict(begins)
        self._ends = dict(begins)

    def add(self, arrivals: Sequence[Arrival], ends: Mapping[int, int]) -> None:
        """Take in what came; forgets the oldest batches when there is too much."""
        self._ends = {**self._ends, **ends}
        self._batches.append(Batch(self._next, arrivals, self._ends))
        self._next += 1
        self._rows += len(arrivals)
        while len(self._batches) > 1 and self._rows - len(self._batches[0].arrivals) >= self._capacity:
            gone = self._batches.popleft()
            self._rows -= len(gone.arrivals)
            self._begins = dict(gone.ends)

    @property
    def ends(self) -> dict[int, int]:
        """Partition → the offset that its next row will have."""
        return dict(self._ends)

    @property
    def head(self) -> int:
        """The number that the next batch will have."""
        return self._next

    @property
    def oldest(self) -> int:
        """The number of the oldest batch that is still there."""
        return self._batches[0].number if self._batches else self._next

    @property
    def position(self) -> str:
        """The position after the last row, as :func:`read_position` reads it."""
        return self.position_at(self._ends)

    def position_at(self, ends: Mapping[int, int]) -> str:
        """Return a position in words."""
        return f"{self.topic_id}:" + ",".join(f"{partition}={offset}" for partition, offset in sorted(ends.items()))

    def since(self, number: int) -> list[Batch]:
        """Return the batches from a number on."""
        return [self._batches[x] for x in range(max(0, number - self.oldest), len(self._batches))]

    def after(self, position: str) -> list[Batch] | None:
        """Return what came after a position, its first batches cut to it; ``None`` when that is not all here any more."""
        topic_id, offsets = read_position(position)
        if topic_id != self.topic_id or any(offsets.get(x, 0) < begin for x, begin in self._begins.items()):
            return None
        if any(offset > self._ends.get(partition, 0) for partition, offset in offsets.items()):
            return None
        cut = []
        for batch in self._batches:
            rest = [x for x in batch.arrivals if x.offset >= offsets.get(x.partition, 0)]
            if len(rest) == len(batch.arrivals):
                cut.append(batch)
            elif rest:
                cut.append(Batch(batch.number, rest, batch.ends))
        return cut

    def arrivals(self) -> Iterator[Arrival]:
        """Yield all rows that are here, oldest first."""
        for batch in list(self._batches):
            yield from batch.arrivals


def read_position(position: str) -> tuple[str, dict[int, int]]:
    """Return the topic's id and partition → next offset; what is no position is one of no topic."""
    topic_id, _, rest = position.partition(":")
    try:
        pairs = [pair.split("=") for pair in rest.split(",") if pair]
        return topic_id, {int(partition): int(offset) for partition, offset in pairs}
    except ValueError:
        return "", {}
