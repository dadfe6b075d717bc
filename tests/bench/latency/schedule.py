"""When each event of a load is meant to be sent, and what it says: known beforehand, to the generator and to who counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

THINGS = 50_000
"""Keys in turns: a key comes again so late that no frame of the push service holds it twice, and is cut."""

BAD_EVERY = 1_000

_TICK_US = 1_000
_KINDS = ("view", "cart", "purchase", "refund")
_COUNTRIES = ("AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "NO", "PL", "PT", "SE")
_TAILS = 997  # a prime, so that tails, keys and bad events do not go in step


@dataclass(frozen=True)
class Schedule:
    """An open-loop load: the moments do not depend on how anybody keeps up.

    Attributes:
        start_us: The first event's moment, microseconds since 1970.
        rate: Events a second: a divisor of a million up to a thousand, whole thousands from there on, which are due at the
            beginning of each millisecond.
        seconds: How long.
    """

    start_us: int
    rate: int
    seconds: float

    def __post_init__(self) -> None:
        if self.rate % 1_000 and (self.rate > 1_000 or 1_000_000 % self.rate):
            raise ValueError(f"No rate of {self.rate} events a second: take whole thousands, or a divisor of a million below.")

    @property
    def count(self) -> int:
        """How many events there are."""
        return int(self.rate * self.seconds)

    @property
    def stop_us(self) -> int:
        """When the last event has been due."""
        return self.start_us + int(self.seconds * 1e6)

    def sent_us(self) -> NDArray[np.int64]:
        """Return the moment of every event; all differ, by a microsecond where several are due at once."""
        numbers = np.arange(self.count, dtype=np.int64)
        each = max(1, self.rate // 1_000)
        tick = _TICK_US if self.rate >= 1_000 else 1_000_000 // self.rate
        return self.start_us + numbers // each * tick + numbers % each

    def good_us(self) -> NDArray[np.int64]:
        """Return the moments of the events that pass the gate."""
        moments = self.sent_us()
        return moments[~_is_bad(np.arange(len(moments)))]

    def ticks(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield each moment at which something is due, and the payloads."""
        each = max(1, self.rate // 1_000)
        moments = self.sent_us()
        tails, bad = _tails(), _bad()
        second, text = -1, b""
        for first in range(0, self.count, each):
            due = int(moments[first])
            if due // 1_000_000 != second:
                second = due // 1_000_000
                text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
            payloads = []
            for number in range(first, min(first + each, self.count)):
                value = b'{"id":"e%05d","sent_us":%d,"happened_at":"%s",%s' % (
                    number % THINGS,
                    due + number - first,
                    text,
                    tails[number % _TAILS],
                )
                payloads.append(bad[number // BAD_EVERY % len(bad)](value) if _is_bad(number) else value)
            yield due, payloads


def _is_bad(number: int | NDArray[np.int64]) -> bool | NDArray[np.bool_]:
    return number % BAD_EVERY == BAD_EVERY - 1


def _tails() -> list[bytes]:
    return [
        b'"kind":"%s","country":"%s","page":"/shop/item-%d","amount":%d,"quantity":%d,"user":"u%06d"}'
        % (_KINDS[n % 4].encode(), _COUNTRIES[n % 16].encode(), n * 7 % 1_000, n * 31 % 90_000, 1 + n % 9, n * 7_919 % 999_983)
        for n in range(_TAILS)
    ]


def _bad() -> list[Callable[[bytes], bytes]]:
    return [
        lambda value: value[:-20],  # cut
        lambda value: value.replace(b'"quantity":', b'"quantity":-'),
        lambda value: value.replace(b'"amount":', b'"amount":"much","x":'),
        lambda value: value.replace(b'"kind":"', b'"kind":"un'),
        lambda value: value.replace(b'"page":"/', b'"page":"'),
    ]
