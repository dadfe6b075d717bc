"""How many rows each table holds, from the Delta logs alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.serving.tables import Location, lake_locator
from lakehouse.settings import Settings

_THREADS = 4


@dataclass(frozen=True)
class Count:
    """What the newest version of a table holds.

    Attributes:
        version: The version; -1 when the table is not written yet.
        rows: Its rows; ``None`` when its log does not say.
        size: Bytes of its files.
        files: Number of its files.
    """

    version: int
    rows: int | None
    size: int
    files: int


ABSENT = Count(-1, 0, 0, 0)


class Counts:
    """Row counts that are read again only when a table has a new version; safe to share between threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Location, DeltaTable, Count]] = {}
        self._lock = threading.Lock()

    def read(self, settings: Settings, names: Iterable[str]) -> dict[str, Count | None]:
        """Return the counts of tables by ``layer.name`` (or ``dead_letters.feed``); ``None`` for one that cannot be read.

        Args:
            settings: Where the lake is.
            names: What to count.
        """
        locate, wanted = lake_locator(settings), list(names)
        with self._lock, ThreadPoolExecutor(_THREADS) as pool:
            return dict(zip(wanted, pool.map(lambda name: self._count(name, locate(name)), wanted), strict=True))

    def _count(self, name: str, location: Location) -> Count | None:
        where, table, count = self._known.get(name, (None, None, ABSENT))
        try:
            if table is None or where != location:  # other credentials: the lake was erased and made again
                table = DeltaTable(location.uri, storage_options=dict(location.options) or None)
            else:
                table.update_incremental()
            if table.version() != count.version or where != location:
                count = _total(table)
        except TableNotFoundError:
            self._known.pop(name, None)
            return ABSENT
        except (DeltaError, OSError):
            self._known.pop(name, None)
            return None
        self._known[name] = location, table, count
        return count


def _total(table: DeltaTable) -> Count:
    actions = table.get_add_actions(flatten=True)
    rows = actions["num_records"].to_pylist() if "num_records" in actions.column_names else [None] * actions.num_rows
    known = all(number is not None for number in rows)
    return Count(table.version(), sum(rows) if known else None, sum(actions["size_bytes"].to_pylist()), len(rows))
