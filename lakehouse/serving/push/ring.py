"""The recent rows of one live topic, in memory, by the batches in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from lakehouse.serving.push.stretch import Arrival, Stretch


@dataclass(frozen=True)
class Batch:
    """Rows that came together.

    Attributes:
        number: Its place among the batches.
        arrivals: The rows, in the order of each partition.
        ends: Partition → the offset after the last row up to here, of all partitions.
    """

    number: int
    arrivals: Sequence[Arrival]
    ends: Mapping[int, int]


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
        self._stretches: dict[int, Stretch] = {}

    def add(self, arrivals: Sequence[Arrival], ends: Mapping[int, int]) -> None:
        """Take in what came; forgets the oldest batches when there is too much."""
        self._stretches.clear()
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
        return self._position(self._ends)

    def since(self, number: int) -> Stretch:
        """Return what came in the batches from a number on; the same one for all who ask before there are more."""
        if number not in self._stretches:
            batches = [self._batches[x] for x in range(max(0, number - self.oldest), len(self._batches))]
            self._stretches[number] = Stretch(list(chain.from_iterable(x.arrivals for x in batches)), self.position)
        return self._stretches[number]

    def each_since(self, number: int) -> list[Stretch]:
        """Return the batches from a number on, each for itself."""
        return [Stretch(batch.arrivals, self._position(batch.ends)) for batch in self._batches if batch.number >= number]

    def after(self, position: str) -> tuple[Stretch, int] | None:
        """Return what came after a position: the rest of the batch that it lies in, and the number of the first one behind that.

        ``None`` when that is not all here any more.
        """
        topic_id, offsets = read_position(position)
        if topic_id != self.topic_id or any(offsets.get(x, 0) < begin for x, begin in self._begins.items()):
            return None
        if any(offset > self._ends.get(partition, 0) for partition, offset in offsets.items()):
            return None
        rest: list[Arrival] = []
        ends: Mapping[int, int] = self._begins
        for batch in self._batches:
            left = [x for x in batch.arrivals if x.offset >= offsets.get(x.partition, 0)]
            if len(left) == len(batch.arrivals) > 0:
                return Stretch(rest, self._position(ends)), batch.number
            rest, ends = rest + left, batch.ends
        return Stretch(rest, self.position), self.head

    def _position(self, ends: Mapping[int, int]) -> str:
        return f"{self.topic_id}:" + ",".join(f"{partition}={offset}" for partition, offset in sorted(ends.items()))

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
