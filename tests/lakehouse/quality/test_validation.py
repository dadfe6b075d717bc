from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from lakehouse.quality import Suite, ValidationResult, append_results, datadocs, drop, fail, prune_results, validate, warn
from lakehouse.quality.suites import LoadedSuite, _loaded, import_gx

ROWS = [(1, "Ada Lovelace", 5.0), (2, None, -500.0), (3, "Grace Hopper", None), (4, "a" * 5000, 7.0)]
_connections: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        host = str(arguments[0] if event == "socket.getaddrinfo" else arguments[1][0])
        if host not in ("127.0.0.1", "localhost", "::1"):
            _connections.append(host)


sys.addaudithook(_watch)


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ROWS, "flight BIGINT, passenger STRING, delay DOUBLE")


@pytest.fixture(scope="module")
def suite() -> LoadedSuite:
    import_gx()
    from great_expectations import expectations as gxe

    return _loaded(
        "silver/flights",
        Suite(
            [
                drop(gxe.ExpectColumnValuesToNotBeNull(column="flight")),
                drop(gxe.ExpectColumnValuesToBeBetween(column="delay", min_value=-120, max_value=2000)),
                warn(gxe.ExpectColumnValueLengthsToBeBetween(column="passenger", max_value=8)),
                warn(gxe.ExpectColumnMaxToBeBetween(column="passenger", max_value=1)),
                warn(gxe.ExpectColumnValuesToMatchLikePattern(column="passenger", like_pattern="%a%")),
                warn(gxe.ExpectTableRowCountToBeBetween(min_value=10)),
                fail(gxe.ExpectColumnValuesToBeInSet(column="nowhere", value_set=[1])),
            ]
        ),
    )


def run(frame: DataFrame, suite: LoadedSuite, root: Path, pii: frozenset[str] = frozenset(), to: int = 9) -> ValidationResult:
    return validate(frame, suite, root, table="silver.flights", from_version=3, to_version=to, pii=pii)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a workspace") / ".tidemill"


@pytest.fixture(scope="module")
def result(frame: DataFrame, suite: LoadedSuite, root: Path) -> Iterator[ValidationResult]:
    _connections.clear()
    return run(frame, suite, root)


def test_each_rule_gets_a_row_in_the_order_of_the_suite(result: ValidationResult, suite: LoadedSuite) -> None:
    assert [row.expectation for row in result.rows] == [rule.id for rule in suite.rules]
    assert [row.success for row in result.rows] == [True, False, False, False, True, False, False]
    assert not result.success
    assert len(result.failed) == 5
    between = result.rows[1]
    assert (between.element_count, between.unexpected_count) == (4, 1)
    assert between.unexpected_percent == pytest.approx(100 / 3)  # of the values that are there
    assert between.partial_unexpected == "[-500.0]"
    assert json.loads(between.kwargs_json) == {"column": "delay", "min_value": -120.0, "max_value": 2000.0}
    assert (between.table, between.suite, between.suite_version) == ("silver.flights", "silver/flights", suite.version)
    assert (between.from_version, between.to_version, between.action) == (3, 9, "drop")
    assert result.rows[5].observed_value == "4"


def test_like_is_answered_on_spark(result: ValidationResult) -> None:
    like = result.rows[4]
    assert like.error is None
    assert (like.unexpected_count, like.success) == (0, True)


def test_what_gx_cannot_answer_has_failed_and_says_why(result: ValidationResult) -> None:
    assert result.rows[6].error and "nowhere" in result.rows[6].error
    assert "Traceback" not in result.rows[6].error


def test_long_values_are_cut(result: ValidationResult) -> None:
    kept = result.rows[2].partial_unexpected
    assert kept is not None and len(kept) < 2_100 and "Ada Lovelace" in kept


def test_data_docs_are_built_and_linked(result: ValidationResult, root: Path) -> None:
    assert result.docs.is_file() and result.docs.is_relative_to(root / "gx")
    assert "silver.flights" in result.docs.read_text()


def test_nothing_goes_over_the_network(result: ValidationResult) -> None:
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert _connections == []
    with pytest.raises(OSError):  # the watcher does see an attempt
        __import__("socket").create_connection(("host.invalid", 9), timeout=1)
    assert _connections.pop() == "host.invalid"


def test_usage_data_is_off_in_the_context(result: ValidationResult, root: Path) -> None:
    assert "analytics_enabled: false" in (root / "gx" / "great_expectations.yml").read_text()


def test_the_rows_are_let_go(result: ValidationResult, frame: DataFrame) -> None:
    assert not frame.storageLevel.useMemory


def test_no_value_of_personal_data_is_kept(frame: DataFrame, suite: LoadedSuite, tmp_path: Path) -> None:
    result = run(frame, suite, tmp_path, pii=frozenset({"passenger"}))
    lengths, largest = result.rows[2], result.rows[3]
    assert (lengths.unexpected_count, lengths.partial_unexpected) == (3, None)
    assert largest.observed_value is None
    assert result.rows[1].partial_unexpected == "[-500.0]"
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written
    for file in written:
        assert b"Lovelace" not in file.read_bytes() and b"Hopper" not in file.read_bytes(), file


def test_only_so_many_validations_are_kept(frame: DataFrame, suite: LoadedSuite, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(datadocs, "KEPT", 2)
    few = LoadedSuite(suite.name, suite.version, suite.rules[:1])
    for to in (1, 2, 3):
        docs = run(frame, few, tmp_path, to=to).docs
    pages = [page.name for page in docs.parent.rglob("validations/**/*.html")]
    assert sorted(pages) == ["silver.flights@3-2.html", "silver.flights@3-3.html"]


def test_no_rows_is_no_failure(frame: DataFrame, suite: LoadedSuite, tmp_path: Path) -> None:
    few = LoadedSuite(suite.name, suite.version, suite.rules[:3])
    result = run(frame.limit(0), few, tmp_path)
    assert result.success
    assert [row.element_count for row in result.rows] == [0, 0, 0]


def test_results_are_appended_and_pruned(spark: SparkSession, result: ValidationResult, tmp_path: Path) -> None:
    path, day = str(tmp_path / "results"), timedelta(days=1)
    assert prune_results(spark, path, day) == 0
    append_results(spark, path, [])
    assert prune_results(spark, path, day) == 0
    append_results(spark, path, result.rows)
    table = spark.read.format("delta").load(path)
    assert table.count() == len(result.rows)
    assert table.where("success").count() == sum(row.success for row in result.rows)
    run_at = result.rows[0].run_at
    assert {row.run_at.astimezone(UTC) for row in table.select("run_at").collect()} == {run_at}
    assert prune_results(spark, path, 30 * day) == 0
    assert prune_results(spark, path, 30 * day, now=run_at + 30 * day) == 0
    assert prune_results(spark, path, 30 * day, now=run_at + 31 * day) == len(result.rows)
    assert spark.read.format("delta").load(path).count() == 0
    assert datetime.now(UTC) - run_at < day
