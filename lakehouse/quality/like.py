"""Teach Great Expectations its LIKE expectations on Spark.

GX has metrics for them on SQL databases only; without these, validation would answer each with an error. GX finds a metric
provider by the engine that its method is decorated for, and merges it with the one for SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import column_condition_partial
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import ColumnMapMetricProvider
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column


def matches(column: Column, patterns: Sequence[str], match_on: str | None, escape: str | None) -> Column:
    """Return whether a value is LIKE any (or ``all``) of the patterns; without ``escape``, backslash escapes as in SQL."""
    found = [F.like(column, F.lit(pattern), F.lit(escape or "\\")) for pattern in patterns]
    return reduce(and_ if match_on == "all" else or_, found)


class _Like(ColumnMapMetricProvider):
    condition_metric_name = "column_values.match_like_pattern"
    condition_value_keys = ("like_pattern", "escape")

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Column, like_pattern: str, escape: str | None = None, **_: Any) -> Column:  # noqa: N805
        return matches(column, [like_pattern], "any", escape)


class _LikeList(ColumnMapMetricProvider):
    condition_metric_name = "column_values.match_like_pattern_list"
    condition_value_keys = ("like_pattern_list", "match_on", "escape")

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(
        cls,  # noqa: N805
        column: Column,
        like_pattern_list: Sequence[str],
        match_on: str | None = None,
        escape: str | None = None,
        **_: Any,
    ) -> Column:
        return matches(column, like_pattern_list, match_on, escape)


class _NotLike(ColumnMapMetricProvider):
    condition_metric_name = "column_values.not_match_like_pattern"
    condition_value_keys = ("like_pattern", "escape")

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Column, like_pattern: str, escape: str | None = None, **_: Any) -> Column:  # noqa: N805
        return ~matches(column, [like_pattern], "any", escape)


class _NotLikeList(ColumnMapMetricProvider):
    condition_metric_name = "column_values.not_match_like_pattern_list"
    condition_value_keys = ("like_pattern_list", "escape")

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(
        cls,  # noqa: N805
        column: Column,
        like_pattern_list: Sequence[str],
        escape: str | None = None,
        **_: Any,
    ) -> Column:
        return ~matches(column, like_pattern_list, "any", escape)
