"""Which source records were counted already, in bounded memory."""

from __future__ import annotations

import numpy as np

from lakehouse.serving.density.axis import Whole
from lakehouse.serving.density.events import Events, Mask

WINDOW = 1 << 20
"""Offsets of a source partition that are told apart, from its newest one back; what is older was counted, surely."""


class Seen:
    """Remembers records by topic id, partition and offset.

    Args:
        window: See :data:`WINDOW`; one byte each.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._sources: dict[tuple[str, int], _Source] = {}

    def __bool__(self) -> bool:
        return bool(self._sources)

    def fresh(self, events: Events, *, distinct: bool = False) -> Mask:
        """Say which events were not seen before, and see them.

        Args:
            events: The events.
            distinct: They are surely new, and each is there once; then those older than the window count too.
        """
        fresh = np.zeros(len(events), dtype=bool)
        for source, where in events.by_source():
            known = self._sources.setdefault(source, _Source(self._window))
            fresh[where] = known.see(events.offsets[where])
        return np.ones(len(events), dtype=bool) if distinct else fresh


class _Source:
    """One partition of a topic: a ring of flags, one an offset."""

    def __init__(self, window: int) -> None:
        self._flags = np.zeros(window, dtype=bool)
        self._end = 0  # the offset after the newest

    def see(self, offsets: Whole) -> Mask:
        window = len(self._flags)
        first = np.zeros(len(offsets), dtype=bool)
        first[np.unique(offsets, return_index=True)[1]] = True
        known = self._flags[offsets % window] | (offsets < self._end - window)
        fresh = first & ((offsets >= self._end) | ~known)
        end = max(self._end, int(offsets.max()) + 1)
        if end - self._end >= window:
            self._flags[:] = False
        else:
            self._flags[np.arange(self._end, end) % window] = False
        self._end = end
        self._flags[offsets[offsets >= end - window] % window] = True
        return fresh
