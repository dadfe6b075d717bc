"""The compiled gate and Great Expectations itself must find the same rows, whatever is in them."""

from __future__ import annotations

import datetime as dt
import math
import random
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.quality import Gate, Suite, compile_gate, warn
from lakehouse.quality.predicates import COMPILED, TYPES
from lakehouse.quality.suites import Rule, _loaded, import_gx

# Text conditions still work, and people have them; GX asks for its Column objects instead.
pytestmark = pytest.mark.filterwarnings(r"ignore:[\s\S]* deprecated as of GX Core 1.9.0:DeprecationWarning")

SCHEMA = (
    "row BIGINT, a BIGINT, b BIGINT, i INT, d DOUBLE, e DOUBLE, f FLOAT, m DECIMAL(10,2), n DECIMAL(10,2), s STRING, r STRING, "
    "t TIMESTAMP, u TIMESTAMP, day DATE, yes BOOLEAN, p STRUCT<x: INT, y: STRING>"
)
BIG = 2**63 - 1
LONGS = [None, 0, 1, -1, 5, 60, BIG, -BIG - 1, 2**53 + 1, 10**18]
DOUBLES = [None, 0.0, -0.0, 1.0, 0.1, 0.2, 0.3, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 60.0, 2.0**53]
TEXTS = [
    *(
        None,
        "",
        " ",
        "UA",
        "ua",
        "AA",
        "DL",
        "NaN",
        "null",
        "100%",
        "a_c",
        "abc",
        "a.c",
        "O'Hare",
        'say "x"',
        "back\\slash",
        "x\ny",
    ),
    *(
        "Zürich",
        "Zu\u0308rich",
        "東京",
        "🛫",
        "\u0000",
        "\ufeffUA",
        "İstanbul",
        "ß",
        "A" * 300,
        "2013-01-01",
        "5",
        "\u200b",
        "%",
        "_",
    ),
]
TIMES = [
    None,
    *(dt.datetime(y, m, d, h, tzinfo=dt.UTC) for y, m, d, h in [(2013, 1, 1, 0), (2013, 6, 30, 12), (2013, 12, 31, 23)]),
    dt.datetime(1900, 1, 1, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 31, tzinfo=dt.UTC),
    dt.datetime(2013, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC),
]
DAYS = [None, dt.date(2013, 1, 1), dt.date(2013, 7, 4), dt.date(1, 1, 1), dt.date(9999, 12, 31)]
DECIMALS = [
    None,
    Decimal("0.10"),
    Decimal("0.20"),
    Decimal("0.30"),
    Decimal("-99999999.99"),
    Decimal("99999999.99"),
    Decimal("0"),
]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """Every special value of every column at least once, and many random pairs of them."""
    seed = random.Random(20130101)

    def text() -> str | None:
        if seed.random() < 0.7:
            return seed.choice(TEXTS)
        return "".join(
            chr(seed.choice([seed.randrange(32, 127), seed.randrange(0x20, 0xD800)])) for _ in range(seed.randrange(9))
        )

    def long() -> int | None:
        return seed.choice(LONGS) if seed.random() < 0.7 else seed.randint(-100, 100)

    def double() -> float | None:
        return seed.choice(DOUBLES) if seed.random() < 0.7 else seed.gauss(0, 100)

    def row(number: int) -> tuple[Any, ...]:
        same = seed.random() < 0.3  # pairs and sets of columns are equal often enough to matter
        a, d, s, t, m = long(), double(), text(), seed.choice(TIMES), seed.choice(DECIMALS)
        b, e, r, u, n = (a, d, s, t, m) if same else (long(), double(), text(), seed.choice(TIMES), seed.choice(DECIMALS))
        i = seed.choice([None, 0, 1, 5, 2**31 - 1, -(2**31)])
        inside = seed.choice([None, (1, "in"), (None, None), (60, "")])
        narrow = seed.choice([None, 0.5, math.nan, 3.0])
        return number, a, b, i, d, e, narrow, m, n, s, r, t, u, seed.choice(DAYS), seed.choice([None, True, False]), inside

    # One partition on disk would be read again for each of the many queries of GX; in memory it is quick.
    frame = spark.createDataFrame([row(n) for n in range(1500)], SCHEMA).coalesce(1).cache()
    frame.count()
    return frame


def _expectations() -> list[Any]:
    import_gx()
    from great_expectations import expectations as gxe
    from great_expectations.expectations.row_conditions import Column as Where

    noon = dt.datetime(2013, 6, 30, 12)
    new_year = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    found: list[Any] = []
    for column in ("a", "d", "m", "s", "t", "day", "yes", "p", "p.x"):
        found += [gxe.ExpectColumnValuesToNotBeNull(column=column), gxe.ExpectColumnValuesToBeNull(column=column)]
    for column, values in [
        ("a", [1, 5, BIG]),
        ("a", [0.0, 1.5]),
        ("i", [2**40, 5]),
        ("d", [0.0, math.nan, math.inf]),
        ("f", [0.5, 3]),
        ("m", [Decimal("0.30"), 0]),
        ("s", ["UA", "", "Zürich", "🛫", "O'Hare", "\u0000"]),
        ("s", []),
        ("yes", [True]),
        ("day", [dt.date(2013, 1, 1)]),
        ("t", [new_year]),
        ("p.y", ["in"]),
    ]:
        found.append(gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values))
        found.append(gxe.ExpectColumnValuesToNotBeInSet(column=column, value_set=values))
    for column, low, high in [
        ("a", 0, 60), ("a", 0.5, None), ("a", None, 2**53), ("i", -1, 1), ("d", 0, 1e308), ("d", None, 0), ("d", 0, None),
        ("d", -math.inf, math.inf), ("f", 0, 1), ("m", 0.1, 0.3), ("m", 0, None), ("t", new_year, noon), ("t", None, new_year),
        ("t", dt.date(2013, 1, 1), None), ("day", dt.date(2013, 1, 1), dt.date(2013, 12, 31)), ("day", noon, None),
        ("p.x", 2, None),
    ]:  # fmt: skip
        for strict in [{}, {"strict_min": True}, {"strict_max": True}, {"strict_min": True, "strict_max": True}]:
            found.append(gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, **strict))
    for regex in ["A", "^[A-Z]{2}$", "^$", "\\d+", "(?i)^ua$", "ü", "^.$", "x.y", "\\p{L}+", ""]:
        found.append(gxe.ExpectColumnValuesToMatchRegex(column="s", regex=regex))
        found.append(gxe.ExpectColumnValuesToNotMatchRegex(column="s", regex=regex))
    for patterns in [["^U", "A$"], ["a", "b|c"], ["^$"]]:
        found.append(gxe.ExpectColumnValuesToNotMatchRegexList(column="s", regex_list=patterns))
        for match_on in ("any", "all"):
            found.append(gxe.ExpectColumnValuesToMatchRegexList(column="s", regex_list=patterns, match_on=match_on))
    for like, escape in [("U_", None), ("a!_c", "!"), ("%\\%", None), ("%", None), ("", None), ("Z%rich", None)]:
        found.append(gxe.ExpectColumnValuesToMatchLikePattern(column="s", like_pattern=like, escape=escape))
        found.append(gxe.ExpectColumnValuesToNotMatchLikePattern(column="s", like_pattern=like, escape=escape))
        found.append(gxe.ExpectColumnValuesToNotMatchLikePatternList(column="s", like_pattern_list=[like, "A%"], escape=escape))
        for match_on in ("any", "all"):
            several = {"like_pattern_list": [like, "%a%"], "match_on": match_on, "escape": escape}
            found.append(gxe.ExpectColumnValuesToMatchLikePatternList(column="s", **several))
    for column in ("s", "a", "p.y"):
        found.append(gxe.ExpectColumnValueLengthsToEqual(column=column, value=2))
        for low, high in [(1, 3), (None, 2), (3, None)]:
            found.append(gxe.ExpectColumnValueLengthsToBeBetween(column=column, min_value=low, max_value=high))
    found.append(gxe.ExpectColumnValueLengthsToBeBetween(column="s", min_value=1, max_value=3, strict_min=True, strict_max=True))
    for one, other in [("a", "b"), ("d", "e"), ("a", "d"), ("s", "r"), ("t", "u"), ("m", "n"), ("t", "day")]:
        for ignore in ("both_values_are_missing", "either_value_is_missing", "neither"):
            pair = {"column_A": one, "column_B": other, "ignore_row_if": ignore}
            found.append(gxe.ExpectColumnPairValuesToBeEqual(**pair))
            found.append(gxe.ExpectColumnPairValuesAToBeGreaterThanB(**pair))
            found.append(gxe.ExpectColumnPairValuesAToBeGreaterThanB(**pair, or_equal=True))
    for ignore in ("both_values_are_missing", "either_value_is_missing", "neither"):
        pairs = [("UA", None), (None, "AA"), ("DL", "DL"), ("", "")]
        pair = {"column_A": "s", "column_B": "r", "ignore_row_if": ignore}
        found.append(gxe.ExpectColumnPairValuesToBeInSet(**pair, value_pairs_set=pairs))
    for columns, total in [
        (["a", "b"], 0),
        (["a", "i", "b"], BIG),
        (["d", "e"], 0.3),
        (["m", "n"], 0.3),
        (["a", "d"], 1),
        (["m", "a"], 1),
    ]:
        for ignore in ("all_values_are_missing", "any_value_is_missing", "never"):
            found.append(gxe.ExpectMulticolumnSumToEqual(column_list=columns, sum_total=total, ignore_row_if=ignore))
    for columns in [["a", "b"], ["a", "b", "i"], ["d", "e"], ["s", "r"], ["t", "u"]]:
        for ignore in ("all_values_are_missing", "any_value_is_missing", "never"):
            several = {"column_list": columns, "ignore_row_if": ignore}
            found.append(gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(**several))
            found.append(gxe.ExpectMulticolumnValuesToBeEqual(**several))
    for condition in [
        {"row_condition": "s = 'UA' OR a IS NULL", "condition_parser": "spark"},
        {"row_condition": "s LIKE 'A%' AND NOT yes", "condition_parser": "spark"},
        {"row_condition": "try_divide(a, i) > 1", "condition_parser": "spark"},
        {"row_condition": 'col("a") > 0', "condition_parser": "great_expectations"},
        {"row_condition": "col(\"s\") == 'UA'", "condition_parser": "great_expectations"},
        {"row_condition": 'col("d").notNull()', "condition_parser": "great_expectations"},
        {"row_condition": Where("a") >= 5},
        {"row_condition": (Where("a") > 0) & (Where("s") != "O'Hare")},
        {"row_condition": (Where("d") < 1.5) | Where("s").is_null()},
        {"row_condition": Where("s").is_in(["UA", 'say "x"'])},
        {"row_condition": Where("a").is_not_in([0, 1]) & Where("yes").is_not_null()},
    ]:
        found.append(gxe.ExpectColumnValuesToNotBeNull(column="e", **condition))
        found.append(gxe.ExpectColumnValuesToBeBetween(column="d", min_value=0, max_value=100, **condition))
        found.append(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="a", column_B="b", **condition))
        found.append(gxe.ExpectMulticolumnSumToEqual(column_list=["a", "b"], sum_total=0, **condition))
    return found


def _batch(frame: DataFrame) -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_spark("spark", persist=False)
    return source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})


def _gx_conditions(frame: DataFrame, rules: tuple[Rule, ...]) -> dict[str, set[int]]:
    """Return rule id → rows that GX finds unexpected, by its own conditions and domains, many conditions a query."""
    from great_expectations.validator.metric_configuration import MetricConfiguration
    from great_expectations.validator.metrics_calculator import MetricsCalculator

    batch = _batch(frame)
    engine = batch.data.execution_engine
    engine.load_batch_data(batch.id, frame)
    calculator = MetricsCalculator(engine, show_progress_bars=False)
    wanted: dict[str, MetricConfiguration] = {}
    for rule in rules:
        name = rule.expectation.map_metric
        needed = rule.expectation.get_validation_dependencies(engine, {"result_format": {"result_format": "COMPLETE"}})
        count = needed.metric_configurations[f"{name}.unexpected_count"]
        domain = {**count.metric_domain_kwargs, "batch_id": batch.id}
        wanted[rule.id] = MetricConfiguration(f"{name}.condition", domain, count.metric_value_kwargs)
    domains: dict[str, tuple[dict[str, Any], dict[str, Column]]] = {}
    resolved, aborted = calculator.compute_metrics(list(wanted.values()))
    assert not aborted
    for rule_id, metric in wanted.items():
        (condition, compute, accessor), domain = resolved[metric.id], metric.metric_domain_kwargs
        filters = {k: v for k, v in domain.items() if k in ("row_condition", "condition_parser")}
        ignore = domain.get("ignore_row_if", "neither")
        if ignore not in ("neither", "never"):
            filters |= {k: domain[k] for k in ("column_A", "column_B", "column_list", "ignore_row_if") if k in domain}
        _, conditions = domains.setdefault(repr(filters), ({**compute, **accessor}, {}))
        conditions[rule_id] = condition
    found: dict[str, set[int]] = {}
    # Interpreted: compiling hundreds of conditions to bytecode would take longer than the rows.
    frame.sparkSession.conf.set("spark.sql.codegen.wholeStage", "false")
    frame.sparkSession.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    for domain, conditions in domains.values():
        records = engine.get_domain_records(domain).select("row", F.array(*conditions.values()).alias("unexpected")).collect()
        for index, rule_id in enumerate(conditions):
            found[rule_id] = {r["row"] for r in records if r["unexpected"][index]}
    frame.sparkSession.conf.unset("spark.sql.codegen.wholeStage")
    frame.sparkSession.conf.unset("spark.sql.codegen.factoryMode")
    return found


def _gx_results(frame: DataFrame, rules: list[Rule]) -> dict[str, set[int]]:
    """Return rule id → rows that GX finds unexpected, by its public way to validate."""
    import great_expectations as gx

    expectations = [rule.expectation.copy(update={"meta": {"rule": rule.id}}) for rule in rules]
    shape = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row"], "partial_unexpected_count": 0}
    found: dict[str, set[int]] = {}
    for result in _batch(frame).validate(gx.ExpectationSuite("suite", expectations=expectations), result_format=shape).results:
        rule_id = result.expectation_config.meta["rule"]
        assert not result.exception_info.get("raised_exception", True), (rule_id, result.exception_info)
        found[rule_id] = {row["row"] for row in result.result.get("unexpected_index_list") or []}
        assert len(found[rule_id]) == result.result["unexpected_count"], rule_id
    return found


@pytest.fixture(scope="module")
def gate(rows: DataFrame) -> Gate:
    return compile_gate(_loaded("silver/any", Suite([warn(e) for e in _expectations()])), rows.schema)


@pytest.fixture(scope="module")
def broken(rows: DataFrame, gate: Gate) -> dict[str, set[int]]:
    """Rule id → rows that the gate finds."""
    found: dict[str, set[int]] = {}
    names = list(gate.predicates)
    for start in range(0, len(names), 30):  # as many as a real suite has, so that Spark compiles them as it would there
        some = names[start : start + 30]
        table = rows.select("row", F.array(*(gate.predicates[name] for name in some)).alias("broken")).collect()
        assert all(value is not None for r in table for value in r["broken"])
        found |= {name: {r["row"] for r in table if r["broken"][i]} for i, name in enumerate(some)}
    return found


def _differences(gate: Gate, expected: dict[str, set[int]], broken: dict[str, set[int]]) -> dict[str, list[int]]:
    return {gate.describe(i): sorted(rows ^ broken[i])[:5] for i, rows in expected.items() if rows != broken[i]}


def test_every_combination_finds_the_rows_of_gx_conditions(rows: DataFrame, gate: Gate, broken: dict[str, set[int]]) -> None:
    assert not gate.gx_only
    expected = _gx_conditions(rows, gate.suite.rules)
    assert len(expected) == len(broken) == len(gate.suite.rules)
    assert not _differences(gate, expected, broken)
    told_apart = sum(0 < len(found) < rows.count() for found in expected.values())
    assert told_apart > 0.8 * len(expected)  # a test in which all rows pass, or none, would show nothing


def test_each_type_finds_the_rows_that_gx_reports(rows: DataFrame, gate: Gate, broken: dict[str, set[int]]) -> None:
    one_of_each = {(rule.type, rule.row_condition is None): rule for rule in gate.suite.rules}
    assert {kind for kind, _ in one_of_each} == set(COMPILED) - set(TYPES)
    assert not _differences(gate, _gx_results(rows, list(one_of_each.values())), broken)
