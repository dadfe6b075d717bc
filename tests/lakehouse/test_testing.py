from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from lakehouse.testing import ListSink, MemorySource, assert_same_rows, frame, rows_of


def test_a_moment_is_utc_whatever_the_machine_thinks(spark: SparkSession) -> None:
    rows = [("2013-03-10T02:30:00Z",), (datetime(2013, 3, 10, 2, 30),), (datetime(2013, 3, 10, 2, 30, tzinfo=UTC),)]
    table = frame(spark, "at TIMESTAMP", rows)
    assert rows_of(table) == [{"at": datetime(2013, 3, 10, 2, 30, tzinfo=UTC)}] * 3
    assert [x.text for x in table.selectExpr("CAST(at AS STRING) AS text").collect()] == ["2013-03-10 02:30:00"] * 3


def test_a_mapping_may_leave_columns_out(spark: SparkSession) -> None:
    assert rows_of(frame(spark, "a INT, b STRING", [{"b": "x"}])) == [{"a": None, "b": "x"}]


def test_same_rows_in_any_order_and_from_either_library(spark: SparkSession) -> None:
    actual = frame(spark, "a INT, b DOUBLE, c ARRAY<INT>", [(1, None, [1]), (2, float("nan"), []), (2, float("nan"), [])])
    shuffled = frame(spark, "c ARRAY<INT>, b DOUBLE, a INT", [([], float("nan"), 2), ([1], None, 1), ([], float("nan"), 2)])
    assert_same_rows(actual, shuffled)
    assert_same_rows(frame(spark, "n INT", [(1,), (None,)]), pd.DataFrame({"n": [None, 1.0]}))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1,), (1,)], "0 rows are not expected, 1 are missing"),
        ([(1,), (1,), (3,)], "1 rows are not expected, 1 are missing"),
        ([(1,), (1,), (2,), (2,)], "1 rows are not expected, 0 are missing"),
    ],
)
def test_another_count_is_a_difference(spark: SparkSession, rows: list[tuple[int]], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_same_rows(frame(spark, "a INT", rows), frame(spark, "a INT", [(1,), (1,), (2,)]))


def test_another_column_is_a_difference(spark: SparkSession) -> None:
    with pytest.raises(AssertionError, match="columns differ"):
        assert_same_rows(frame(spark, "a INT", [(1,)]), frame(spark, "b INT", [(1,)]))


def test_a_stream_comes_batch_by_batch(spark: SparkSession) -> None:
    source, sink = MemorySource(spark, "a INT, at TIMESTAMP"), ListSink()
    source.add([{"a": 1, "at": "2013-01-01T00:00:00Z"}, {"a": 2}])
    source.add([{"a": 3}])
    sink.run(source.stream().selectExpr("a * 10 AS b"))
    source.close()
    assert sink.batches == [[{"b": 10}, {"b": 20}], [{"b": 30}]]
    assert [x["b"] for x in sink.rows] == [10, 20, 30]
