"""Validation results as rows: one for each expectation of each validation, in a Delta table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

SCHEMA = (
    "run_at TIMESTAMP, table STRING, suite STRING, suite_version STRING, from_version BIGINT, to_version BIGINT, "
    "expectation STRING, kwargs_json STRING, action STRING, success BOOLEAN, element_count BIGINT, unexpected_count BIGINT, "
    "unexpected_percent DOUBLE, partial_unexpected STRING, observed_value STRING, error STRING"
)


@dataclass(frozen=True)
class ResultRow:
    """What Great Expectations said of one expectation; the columns of the results table, in order.

    Attributes:
        run_at: When the validation began.
        table: ``layer.name``.
        suite: Name of the suite.
        suite_version: Its version.
        from_version: First Delta version whose rows were looked at.
        to_version: Last one.
        expectation: Id of the rule.
        kwargs_json: What was asked, as JSON.
        action: ``warn``, ``drop`` or ``fail``.
        success: Whether it held.
        element_count: Rows looked at; null when the expectation is not about rows, like the next two.
        unexpected_count: Rows that broke it.
        unexpected_percent: Their share of the values that are there, 0–100.
        partial_unexpected: JSON list of a few values that broke it; null for personal data.
        observed_value: What an expectation about the whole table saw, as JSON; null for personal data.
        error: Why it could not be answered; null when it could.
    """

    run_at: datetime
    table: str
    suite: str
    suite_version: str
    from_version: int
    to_version: int
    expectation: str
    kwargs_json: str
    action: str
    success: bool
    element_count: int | None
    unexpected_count: int | None
    unexpected_percent: float | None
    partial_unexpected: str | None
    observed_value: str | None
    error: str | None


def append_results(spark: SparkSession, path: str, rows: Sequence[ResultRow]) -> None:
    """Append rows to the results table, in one commit; made when it is not there.

    Args:
        spark: The session of the table's owner.
        path: Where the table lies.
        rows: What to append; nothing is committed for none.
    """
    if rows:
        frame = spark.createDataFrame([astuple(row) for row in rows], SCHEMA).coalesce(1)
        frame.write.format("delta").mode("append").save(path)


def prune_results(spark: SparkSession, path: str, retention: timedelta, now: datetime | None = None) -> int:
    """Delete the results of validations that began longer ago than ``retention``.

    Args:
        spark: The session of the table's owner.
        path: Where the table lies.
        retention: How long results are kept.
        now: The time to count back from; the clock when left out.

    Returns:
        How many rows were deleted. Their files go with the next VACUUM.
    """
    if not DeltaTable.isDeltaTable(spark, path):
        return 0
    old = F.col("run_at") < F.lit((now or datetime.now(UTC)) - retention)
    count = spark.read.format("delta").load(path).where(old).count()
    if count:  # a delete of nothing would be a commit too
        DeltaTable.forPath(spark, path).delete(old)
    return count
