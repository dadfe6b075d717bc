"""Rows that DuckDB reads through Arrow, with how many there are, so that it joins tables in a good order.

DuckDB takes a stream of Arrow's PyCapsule interface for a single row. Its own adapters for Arrow (``duckdb._sources``, since 2.0)
have a place to say more; it is not a public one, so without it the streams are read as any other is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class ArrowScanSource:
        """Stands for DuckDB's class, which has no types that can be relied on."""

        def __init__(self, obj: object) -> None: ...

else:
    try:
        from duckdb._sources.arrow import ArrowScanSource
    except ImportError:

        class ArrowScanSource:
            """Stands for DuckDB's class where there is none."""

            def __init__(self, obj: object) -> None:
                """Adapt nothing."""


class Counted(ArrowScanSource):
    """Rows that can be read any number of times; subclasses give the stream."""

    def __init__(self, schema: Any, count: int | None) -> None:
        """Know what is known without reading.

        Args:
            schema: The columns; for Arrow's PyCapsule interface.
            count: About how many rows there are; ``None`` when nobody knows.
        """
        super().__init__(self)
        self._schema = schema
        self.count = count

    def rows(self) -> int | None:
        """Return about how many rows there are, for DuckDB's planner."""
        return self.count

    def __arrow_c_schema__(self) -> object:
        """Return the columns, for Arrow's PyCapsule interface."""
        return self._schema.__arrow_c_schema__()
