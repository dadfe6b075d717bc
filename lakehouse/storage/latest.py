"""The latest state of each key, and a capped stream of what happened, in Valkey (or Redis).

Valkey may lose what it holds at any time: the states are made again from the hot table, and the stream from the live topic.
Writing the same rows again changes nothing: a state is replaced only by a later one, and an entry of the stream is named by the
row's place in the live topic, below which Valkey takes no second one. When that topic is made again, its stream begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from typing import Any, cast

import orjson
import valkey

from lakehouse.livetables import LiveSpec

STREAM_LENGTH = 50_000
"""Entries that each partition's stream keeps, about."""

# KEYS: the hash of states, the hash of sequences, the sorted set of feed clocks. ARGV: all keys, all sequences, all rows, all clocks.
# One call for all keys takes two thirds of the time of one for each.
_SET_IF_NEWER = """
local count = #ARGV / 4
local standing = redis.call('HMGET', KEYS[2], unpack(ARGV, 1, count))
local states, sequences, clocks = {}, {}, {}
for i = 1, count do
  local key, sequence = ARGV[i], ARGV[count + i]
  if not standing[i] or standing[i] < sequence then
    local at = #states
    states[at + 1], states[at + 2] = key, ARGV[2 * count + i]
    sequences[at + 1], sequences[at + 2] = key, sequence
    clocks[at + 1], clocks[at + 2] = ARGV[3 * count + i], key
  end
end
if states[1] then
  redis.call('HSET', KEYS[1], unpack(states))
  redis.call('HSET', KEYS[2], unpack(sequences))
  redis.call('ZADD', KEYS[3], unpack(clocks))
end
"""
# KEYS: the same. ARGV: a feed clock; states from before it are forgotten, at most ten thousand at a time.
_FORGET = """
local gone = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[1], 'LIMIT', 0, 10000)
for i = 1, #gone do
  redis.call('HDEL', KEYS[1], gone[i])
  redis.call('HDEL', KEYS[2], gone[i])
  redis.call('ZREM', KEYS[3], gone[i])
end
"""
# KEYS: a stream, and the hash of which topic each stream is of. ARGV: the stream's length, the topic's id, then offset and row, again
# and again. Entries that are there already are left out.
_APPEND = """
local last = -1
if redis.call('HGET', KEYS[2], KEYS[1]) ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], KEYS[1], ARGV[2])
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if newest[1] then last = tonumber(string.match(newest[1][1], '^%d+')) end
for i = 3, #ARGV, 2 do
  local id = tonumber(ARGV[i]) + 1
  if id > last then
    redis.call('XADD', KEYS[1], string.format('%d-0', id), 'row', ARGV[i + 1])
    last = id
  end
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
"""
_CHUNK = 1_000  # rows of one script call: Valkey does nothing else meanwhile


class Latest:
    """What Valkey holds of one live table."""

    def __init__(self, client: valkey.Valkey, spec: LiveSpec) -> None:
        self._client = client
        self._spec = spec
        self._root = f"tidemill:{{{spec.name}}}"  # the braces keep a feed's keys together in a cluster
        self._keys = [f"{self._root}:{part}" for part in ("state", "sequence", "clock")]
        self._set = client.register_script(_SET_IF_NEWER)
        self._forget = client.register_script(_FORGET)
        self._append = client.register_script(_APPEND)

    @property
    def is_whole(self) -> bool:
        """Whether the states were made whole since Valkey last lost its memory."""
        return bool(self._client.exists(f"{self._root}:whole"))

    @contextmanager
    def together(self) -> Iterator[Latest]:
        """Yield a twin whose writes are sent together, in their order, when the block ends."""
        with self._client.pipeline(transaction=False) as pipeline:
            yield Latest(pipeline, self._spec)
            cast(Any, pipeline).execute()

    def rebuild(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Make the states again from the last row of each key; returns how many keys there are."""
        count = 0
        chunk: list[Mapping[str, Any]] = []
        for row in rows:
            chunk.append(row)
            count += 1
            if len(chunk) == _CHUNK:
                self.put(chunk)
                chunk = []
        self.put(chunk)
        self._client.set(f"{self._root}:whole", "1")
        return count

    def put(self, rows: Sequence[Mapping[str, Any]], texts: Sequence[bytes] | None = None) -> None:
        """Keep the rows whose key has no later state yet.

        Args:
            rows: The rows.
            texts: Each row as JSON, if the caller has it; it is kept as it is.
        """
        newest: dict[str, tuple[str, bytes, float]] = {}
        for row, text in zip(rows, texts or [orjson.dumps(row, default=str) for row in rows], strict=True):
            key, sequence = self.key(row), self.sequence(row)
            if key not in newest or newest[key][0] < sequence:
                newest[key] = (sequence, text, row["_timestamp"].timestamp())
        states = [(key, *state) for key, state in newest.items()]
        for start in range(0, len(states), _CHUNK):
            columns = zip(*states[start : start + _CHUNK], strict=True)
            self._set(keys=self._keys, args=[*chain.from_iterable(columns)])

    def append(self, topic_id: str, partition: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """Add rows to a partition's stream.

        Args:
            topic_id: Id of the live topic.
            partition: Partition of the live topic.
            rows: Offset in it, and the row as JSON, in order.
        """
        for start in range(0, len(rows), _CHUNK):
            arguments = [item for row in rows[start : start + _CHUNK] for item in row]
            self._append(keys=[self.stream(partition), f"{self._root}:streams"], args=[STREAM_LENGTH, topic_id, *arguments])

    def forget(self, horizon: datetime) -> None:
        """Forget states whose record is older than a moment of the feed clock; at most ten thousand."""
        self._forget(keys=self._keys, args=[horizon.timestamp()])

    def get(self, key: Sequence[Any]) -> dict[str, Any] | None:
        """Return the latest row of a key, or ``None``."""
        found = cast("bytes | None", self._client.hget(self._keys[0], orjson.dumps([str(part) for part in key]).decode()))
        return None if found is None else cast("dict[str, Any]", orjson.loads(found))

    def all(self) -> list[dict[str, Any]]:
        """Return the latest row of each key, in no order."""
        found = cast("list[bytes]", self._client.hvals(self._keys[0]))
        return [cast("dict[str, Any]", orjson.loads(row)) for row in found]

    def stream(self, partition: int) -> str:
        """Return the name of a partition's stream; the id of an entry is the row's offset, plus one."""
        return f"{self._root}:stream:{partition}"

    def key(self, row: Mapping[str, Any]) -> str:
        """Return what names a row's thing."""
        return orjson.dumps([str(row.get(name)) for name in self._spec.keys]).decode()

    def sequence(self, row: Mapping[str, Any]) -> str:
        """Return a text that sorts as the rows of a key do: by ``sequence_by``, then by where the record stands."""
        number = _number(row.get(self._spec.sequence_by))
        return f"{number + (1 << 63):020d}:{row['_partition']:010d}:{row['_offset']:020d}"


def _number(value: Any) -> int:
    """Return a sequence as a number; microseconds of a moment. What is none, or a year that Python does not know, comes first."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        number = round(moment.timestamp() * 1e6) if isinstance(moment, datetime) else int(moment)
    except (ValueError, TypeError, OverflowError):
        return -(1 << 63)
    return max(-(1 << 63), min(number, (1 << 63) - 1))
