"""Declare the windows of a live table: what is counted of its rows, by groups and spans of event time.

windows=Windows(
    by=["carrier"],
    spans=["1 minute", "5 minutes", "60 minutes"],
    where="event = 'departed'",
    measures={"departures": "count(*)", "mean_delay": "avg(delay)", "p95_delay": "approx_percentile(delay, 0.95, 1000)"},
)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from lakehouse.durations import duration
from lakehouse.errors import DeclarationError

FRAME = ("span", "window_start", "window_end")
"""Columns that say which window a row is; the groups' columns follow them."""

FRESHNESS = ("last_event", "computed_at")
"""Columns that say how fresh a window is: the latest event time that it holds, and when its batch began."""


@dataclass(frozen=True)
class Windows:
    """What is counted of a live table's rows.

    Attributes:
        by: Columns of the live table, whose values make the groups.
        spans: How long windows are: ``"5 minutes"``. Each row counts in one window of each span; windows begin at whole
            multiples of their span since 1970, UTC.
        measures: Name of a column → aggregate in Spark's SQL over the columns of the live table: ``avg(delay)``.
        where: Condition in Spark's SQL that the rows fulfil which count; all when left out.
    """

    by: Sequence[str]
    spans: Sequence[str]
    measures: Mapping[str, str] = field(hash=False)
    where: str | None = None

    def check(self, name: str) -> None:
        """Look whether it can be what a live table declares.

        Args:
            name: ``live.name``, for messages.

        Raises:
            DeclarationError: A span is no duration or comes twice, something is missing, or a name is taken.
        """
        for what in ("spans", "measures"):
            if not getattr(self, what):
                raise DeclarationError(f"{name}: its windows need {what}.")
        for what in ("by", "spans"):
            if isinstance(getattr(self, what), str):
                raise DeclarationError(f'{name}: {what} of its windows is a list: ["{getattr(self, what)}"].')
        if len(set(self.lengths(name).values())) < len(self.spans):
            raise DeclarationError(f"{name}: two of its windows' spans are the same: {', '.join(self.spans)}.")
        names = [*FRAME, *self.by, *self.measures, *FRESHNESS]
        if twice := sorted({x for x in names if names.count(x) > 1}):
            raise DeclarationError(
                f"{name}: its windows have {', '.join(twice)} twice; groups and measures need names of their own, other than "
                f"{', '.join((*FRAME, *FRESHNESS))}."
            )
        if odd := [x for x in names if x.startswith("_")]:
            raise DeclarationError(f"{name}: its windows name {odd}; names that begin with an underscore are the lane's.")

    def lengths(self, name: str) -> dict[str, timedelta]:
        """Return span → how long it is; ``name`` is for the message when it cannot be read."""
        return {span: duration(f"{name}: a span of its windows", span) for span in self.spans}
