"""Frames of one batch that are computed once and read several times."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Kept:
    """Keeps frames until the end of a ``with`` block: ``with Kept() as keep: rows = keep(rows)``.

    A local checkpoint is kept in memory, and cuts the plan short. Spark lets go of it at some garbage collection after nobody
    knows it any more; until then the next batch pushes it out of memory to disk, at the cost of writing it.
    """

    def __init__(self) -> None:
        self._frames: list[DataFrame] = []

    def __call__(self, frame: DataFrame) -> DataFrame:
        """Return the frame, computed when it is first read and not again."""
        self._frames.append(frame.localCheckpoint(eager=False))
        return self._frames[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for frame in self._frames:
            cast(Any, frame)._jdf.queryExecution().logical().rdd().unpersist(False)
        self._frames.clear()
