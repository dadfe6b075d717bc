"""Rows, pushed or kept, as numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.serving.density.events import Columns, choose, kinds_of_rows, kinds_of_types, of_batch, of_rows

ORIGIN = {"_topic_id": "t", "_partition": 1, "_offset": 7, "_timestamp": "2013-01-01T00:00:00Z"}
SEEN = datetime(2013, 1, 1, 5, 30, tzinfo=UTC)


def test_pushed_and_kept_rows_say_the_same() -> None:
    columns = Columns("at", "level")
    pushed = of_rows([{"at": SEEN.isoformat(), "level": 3, **ORIGIN}], columns)
    table = {"at": [SEEN], "level": pa.array([3], pa.int16()), "_topic_id": ["t"], "_partition": [1], "_offset": [7]}
    kept = of_batch(pa.RecordBatch.from_pydict(table), columns)
    for events in (pushed, kept):
        assert events.moments.tolist() == [SEEN.timestamp() * 1e6]
        assert events.values.tolist() == [3.0]
        assert [(source, where.tolist()) for source, where in events.by_source()] == [(("t", 1), [0])]
        assert events.offsets.tolist() == [7]


@pytest.mark.parametrize("odd", [None, "late", True, [1], {"n": 1}])
def test_what_is_no_number_and_no_moment_is_none_and_the_others_stay(odd: Any) -> None:
    rows = [{"at": odd, "n": odd, **ORIGIN}, {**ORIGIN}, {"at": "2013-01-01T00:00:00.5Z", "n": 1.5, **ORIGIN}]
    events = of_rows(rows, Columns("at", "n"))
    assert np.isnan(events.moments).tolist() == [True, True, False]
    assert np.isnan(events.values[1:]).tolist() == [True, False]
    assert len(events) == 3


def test_empty_columns_of_the_store_are_none() -> None:
    table = {"at": pa.nulls(1, pa.timestamp("us", "UTC")), "n": pa.nulls(1, pa.int32())}
    origin = {"_topic_id": ["t"], "_partition": [0], "_offset": [0]}
    events = of_batch(pa.RecordBatch.from_pydict(table | origin), Columns("at", "n"))
    assert np.isnan([events.moments[0], events.values[0]]).all()


def test_columns_are_known_by_their_types_or_by_their_values() -> None:
    types = {"id": "bigint", "at": "timestamp with time zone", "n": "integer", "more": "jsonb", "_offset": "bigint"}
    rows = [{"id": 1, "at": None, "n": None, "more": [1]}, {"id": 2, "at": "2013-01-01", "n": 5, "more": "x", "good": True}]
    assert kinds_of_types(types) == {"id": "number", "at": "moment", "n": "number", "_offset": "number"}
    assert kinds_of_rows(rows) == {"id": "number", "at": "moment", "n": "number"}


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [
        ({"at": "moment", "id": "number", "flight": "number", "delay": "number"}, Columns("at", "delay")),
        ({"at": "moment", "id": "number", "level": "number", "n": "number"}, Columns("at", "level")),
        ({"at": "number", "level": "number"}, Columns("_timestamp", "at")),
        ({"at": "moment", "id": "number", "_offset": "number"}, None),
        ({}, None),
    ],
)
def test_the_delay_is_drawn_or_the_first_number_that_is_no_key(kinds: Any, chosen: Columns | None) -> None:
    assert choose(kinds, "at", ["id"]) == chosen
