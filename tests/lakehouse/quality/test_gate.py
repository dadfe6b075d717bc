from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from lakehouse.errors import SuiteError, UnknownNameError
from lakehouse.quality import Gate, Suite, compile_gate, drop, fail, warn
from lakehouse.quality.suites import _loaded, import_gx

SCHEMA = "flight_id STRING, event STRING, delay DOUBLE, seats INT, paid DECIMAL(38,0), at TIMESTAMP, tags ARRAY<STRING>"


@pytest.fixture(scope="module")
def gxe() -> Any:
    import_gx()
    from great_expectations import expectations

    return expectations


def compiled(*expected: Any) -> Gate:
    return compile_gate(_loaded("silver/flights", Suite(expected)), StructType.fromDDL(SCHEMA))


@pytest.fixture
def gate(spark: SparkSession, gxe: Any) -> Gate:
    return compiled(
        drop(gxe.ExpectColumnValuesToNotBeNull(column="flight_id")),
        drop(gxe.ExpectColumnValuesToBeInSet(column="event", value_set=["departed", "arrived"])),
        fail(gxe.ExpectColumnValuesToMatchRegex(column="flight_id", regex="^[A-Z0-9]{2}-")),
        warn(gxe.ExpectColumnValuesToBeBetween(column="delay", max_value=2000, description="in minutes")),
        warn(gxe.ExpectColumnMeanToBeBetween(column="delay", max_value=60)),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="seats", mostly=0.9)),
        drop(gxe.ExpectColumnValuesToBeOfType(column="delay", type_="DoubleType")),
    )


NULL_ID, EVENT = "expect_column_values_to_not_be_null(flight_id)", "expect_column_values_to_be_in_set(event)"


def test_a_row_gets_the_ids_of_the_rules_that_it_breaks(spark: SparkSession, gate: Gate) -> None:
    rows = [("UA-1", "departed", 5.0), (None, "landed", 3000.0), ("bad", "arrived", None), ("UA-2", "", float("nan"))]
    frame = spark.createDataFrame(rows, "flight_id STRING, event STRING, delay DOUBLE")
    found = frame.select(gate.reasons(), gate.failures(), gate.warnings(), gate.violated("drop"), gate.violated("drop", "fail"))
    late, shape = "expect_column_values_to_be_between(delay)", "expect_column_values_to_match_regex(flight_id)"
    assert [tuple(row) for row in found.collect()] == [
        (None, None, None, False, False),
        ([NULL_ID, EVENT], None, [late], True, True),
        (None, [shape], None, False, True),
        ([EVENT], None, [late], True, True),  # Spark, and so GX, orders NaN above every number
    ]


def test_a_gate_of_an_empty_suite_lets_everything_through(spark: SparkSession) -> None:
    gate = compiled()
    (row,) = spark.range(1).select(gate.reasons(), gate.failures(), gate.warnings(), gate.violated("drop")).collect()
    assert tuple(row) == (None, None, None, False)
    assert gate.warn_counts() == []


def test_what_only_gx_checks_is_listed(gate: Gate) -> None:
    assert [rule.id for rule in gate.gx_only] == [
        "expect_column_mean_to_be_between(delay)",
        "expect_column_values_to_not_be_null(seats)",
    ]
    assert set(gate.predicates).isdisjoint(rule.id for rule in gate.gx_only)


def test_warnings_are_counted_without_a_second_pass(spark: SparkSession, gate: Gate) -> None:
    from pyspark.sql import Observation

    frame = spark.createDataFrame([(1.0,), (2001.0,), (None,), (9e9,)], "delay DOUBLE")
    seen = Observation("warnings")
    frame.observe(seen, *gate.warn_counts()).collect()
    assert seen.get == {"expect_column_values_to_be_between(delay)": 2}


def test_describe(gate: Gate) -> None:
    assert gate.describe(EVENT) == f"{EVENT} – value_set=['departed', 'arrived']"
    assert gate.describe("expect_column_values_to_be_between(delay)").endswith(" – in minutes")
    with pytest.raises(UnknownNameError, match="Suite silver/flights has no rule x; it has: expect_column"):
        gate.describe("x")


def test_good_rows_build_no_array_and_the_gate_stays_in_generated_code(spark: SparkSession, gate: Gate) -> None:
    frame = spark.createDataFrame([("UA-1", "x", 1.0)], "flight_id STRING, event STRING, delay DOUBLE").repartition(1)
    chosen = frame.select(gate.reasons().alias("reasons"))
    plan = chosen._jdf.queryExecution().executedPlan().toString()
    assert "CASE WHEN" in plan
    chosen.collect()
    final = chosen._jdf.queryExecution().executedPlan().toString()
    project = next(line for line in final.splitlines() if "Project [CASE WHEN" in line)
    assert "*(" in project  # the star of whole-stage code generation


def test_a_sum_that_overflows_is_a_violation_and_no_error(spark: SparkSession, gxe: Any) -> None:
    gate = compiled(drop(gxe.ExpectMulticolumnSumToEqual(column_list=["paid", "seats"], sum_total=0)))
    frame = spark.createDataFrame([(Decimal(10**38 - 1), 2**31 - 1), (Decimal(0), 0)], "paid DECIMAL(38,0), seats INT")
    assert [row[0] is None for row in frame.select(gate.reasons()).collect()] == [False, True]


def test_a_fail_and_drop_gate_runs_on_a_stream(spark: SparkSession, gate: Gate, tmp_path: Any) -> None:
    spark.createDataFrame([("UA-1", "x", 1.0)], "flight_id STRING, event STRING, delay DOUBLE").write.parquet(
        str(tmp_path / "in")
    )
    rows = spark.readStream.schema("flight_id STRING, event STRING, delay DOUBLE").parquet(str(tmp_path / "in"))
    query = rows.withColumn("reasons", gate.reasons()).writeStream.format("memory").queryName("gated").trigger(availableNow=True)
    query.option("checkpointLocation", str(tmp_path / "checkpoint")).start().awaitTermination(60)
    assert [row.reasons for row in spark.table("gated").collect()] == [[EVENT]]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("ColumnValuesToNotBeNull", {"column": "flight"}, "names column 'flight', which the table has not; it has: flight_id, event"),
    ("ColumnValuesToNotBeNull", {"column": "tags.x"}, "names column 'tags.x'"),
    ("ColumnValuesToBeUnique", {"column": "flight_id"}, "cannot be a gate.*Uniqueness across rows is the table's `keys`"),
    ("CompoundColumnsToBeUnique", {"column_list": ["event", "at"]}, "cannot be a gate"),
    ("TableRowCountToBeBetween", {"min_value": 1}, r"expect_table_row_count_to_be_between\(\) is not about one row"),
    ("ColumnValuesToMatchStrftimeFormat", {"column": "event", "strftime_format": "%Y"}, "cannot be a gate"),
    ("ColumnValuesToNotBeNull", {"column": "delay", "mostly": 0.99}, "has mostly=0.99, which no single row can break"),
    ("ColumnValuesToBeBetween", {"column": "event", "min_value": 1}, "takes a value of type STRING for DOUBLE"),
    ("ColumnValuesToBeBetween", {"column": "tags", "min_value": 1}, "does not fit the table: .DATATYPE_MISMATCH"),
    ("ColumnValuesToBeBetween", {"column": "delay", "min_value": 2, "max_value": 1}, "min_value 2.0 above max_value 1.0"),
    ("ColumnValuesToBeInSet", {"column": "event", "value_set": [1, 2]}, "takes a value of type STRING"),
    ("ColumnValuesToBeInSet", {"column": "event", "value_set": ["a", None]}, "null among its values"),
    ("ColumnValuesToNotBeInSet", {"column": "event", "value_set": ["a", None]}, "null among its values"),
    ("ColumnValuesToBeInSet", {"column": "seats", "value_set": ["many"]}, "has a constant that cannot be worked out.*many"),
    ("ColumnValuesToMatchRegex", {"column": "event", "regex": "a("}, r"has the pattern 'a\(', which is wrong"),
    ("ColumnValuesToMatchLikePattern", {"column": "event", "like_pattern": "50\\"}, "has the pattern '50.*', which is wrong"),
    ("ColumnValuesToBeOfType", {"column": "delay", "type_": "LongType"}, "can never hold: the column is DoubleType"),
    ("ColumnValuesToBeOfType", {"column": "delay", "type_": "double"}, "Spark's are written like LongType"),
    ("MulticolumnSumToEqual", {"column_list": ["event", "seats"], "sum_total": 1}, "takes a value of type STRING|does not fit"),
    ("ColumnPairValuesToBeInSet", {"column_A": "event", "column_B": "seats", "value_pairs_set": []}, "at least one pair"),
    ("ColumnPairValuesToBeEqual", {"column_A": "event", "column_B": "delay"}, "takes a value of type STRING"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "message"), REFUSED, ids=lambda x: x if isinstance(x, str) and " " not in x else "")
@pytest.mark.parametrize("action", [drop, fail])
def test_what_cannot_be_a_gate_is_refused_by_name(
    spark: SparkSession, gxe: Any, action: Any, name: str, kwargs: dict[str, Any], message: str
) -> None:
    expectation = getattr(gxe, f"Expect{name}")(**kwargs)
    with pytest.raises(SuiteError, match=f"Suite silver/flights: .*({message})"):
        compiled(action(expectation))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("flight = 'UA'", "does not fit the table"),
        ("event = ", "does not fit the table"),
        ("delay / seats > 1", "uses divide, which stops the stream on overflow or zero; use try_divide"),
        ("seats + 1 > 5", "uses add, which stops the stream"),
        ("cast(event AS INT) > 1", "takes a value of type STRING for INT"),
        ("at > 'yesterday'", "has a constant that cannot be worked out"),
        ("rand() < 0.5", "another answer each time"),
        ("at < current_timestamp()", "uses current_timestamp, which a gate cannot"),
        ("tags[3] = 'x'", "which a gate cannot"),
        ("event IN (SELECT 'x')", "does not fit the table: .UNSUPPORTED"),
        ("event RLIKE flight_id", "takes its pattern from a column"),
        ("count(*) > 1", "does not fit the table|which a gate cannot"),
    ],
)
@pytest.mark.filterwarnings(r"ignore:[\s\S]* deprecated as of GX Core 1.9.0:DeprecationWarning")
def test_a_row_condition_that_could_stop_the_stream_is_refused(
    spark: SparkSession, gxe: Any, condition: str, message: str
) -> None:
    expectation = gxe.ExpectColumnValuesToNotBeNull(column="delay", row_condition=condition, condition_parser="spark")
    with pytest.raises(SuiteError, match=message):
        compiled(drop(expectation))


@pytest.mark.filterwarnings(r"ignore:[\s\S]* deprecated as of GX Core 1.9.0:DeprecationWarning")
@pytest.mark.parametrize(
    "condition", ["try_divide(delay, seats) > 1", "try_cast(event AS INT) > 1", "seats > 60 * 24", "delay + 1 > 5"]
)
def test_a_row_condition_that_answers_for_every_row_is_taken(spark: SparkSession, gxe: Any, condition: str) -> None:
    gate = compiled(drop(gxe.ExpectColumnValuesToNotBeNull(column="at", row_condition=condition, condition_parser="spark")))
    frame = spark.createDataFrame(
        [("x", 5.0, 0, None), ("7", 1e308, 2**31 - 1, None)], "event STRING, delay DOUBLE, seats INT, at TIMESTAMP"
    )
    assert len(frame.select(gate.reasons()).collect()) == 2


def test_pair_in_set_with_a_row_condition_is_refused_for_gx_ignores_it(spark: SparkSession, gxe: Any) -> None:
    from great_expectations.expectations.row_conditions import Column as Where

    pair = {"column_A": "event", "column_B": "flight_id", "value_pairs_set": [("a", "b")]}
    with pytest.raises(SuiteError, match=r"Great Expectations 1\.24 ignores"):
        compiled(warn(gxe.ExpectColumnPairValuesToBeInSet(**pair, row_condition=Where("seats") > 1)))


def test_column_names_that_look_like_something_else(spark: SparkSession, gxe: Any) -> None:
    schema = StructType.fromDDL("`a.b` STRING, `back``tick` STRING, `select` STRING, a STRUCT<c: STRING>")
    names = ["a.b", "back`tick", "select", "a.c"]
    gate = compile_gate(_loaded("silver/odd", Suite([drop(gxe.ExpectColumnValuesToNotBeNull(column=n)) for n in names])), schema)
    broken: list[Column] = [F.array_join(gate.reasons(), " ")]
    (row,) = spark.createDataFrame([("x", None, "y", (None,))], schema).select(*broken).collect()
    assert row[0] == "expect_column_values_to_not_be_null(back`tick) expect_column_values_to_not_be_null(a.c)"
