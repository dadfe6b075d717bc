"""What each row-level expectation means as a Spark predicate.

Every function returns the condition of a *good* row, written as Great Expectations 1.24 writes it for its Spark engine, so
that both agree on nulls, NaN, types and text. :func:`violation` adds what GX adds around it: nulls are skipped,
``ignore_row_if`` and ``row_condition`` select rows, and an unknown answer is no violation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from lakehouse.errors import SuiteError
from lakehouse.quality.suites import Rule

_INTEGRAL = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)


def _refuse_null(values: Any) -> None:
    if any(value is None for value in values):
        raise SuiteError("has a null among its values, which makes the check pass on every row; leave the null out.")


def _in_set(c: Column, k: Mapping[str, Any]) -> Column:
    _refuse_null(k["value_set"])
    return c.isin(list(k["value_set"]))


def _between(c: Column, k: Mapping[str, Any]) -> Column:
    low, high = k["min_value"], k["max_value"]
    if low is not None and high is not None and low > high:
        raise SuiteError(f"has min_value {low} above max_value {high}.")
    bounds = []
    if low is not None:
        bounds.append(c > F.lit(low) if k["strict_min"] else c >= F.lit(low))
    if high is not None:
        bounds.append(c < F.lit(high) if k["strict_max"] else c <= F.lit(high))
    return reduce(and_, bounds)


def _regex_list(c: Column, k: Mapping[str, Any]) -> Column:
    if k.get("match_on") == "all":
        return reduce(and_, (c.rlike(regex) for regex in k["regex_list"]))
    return c.rlike("|".join(k["regex_list"]))


def _no_regex(c: Column, k: Mapping[str, Any]) -> Column:
    return reduce(and_, (~c.rlike(regex) for regex in k["regex_list"]))


def _like(c: Column, k: Mapping[str, Any]) -> Column:
    from lakehouse.quality.like import matches

    patterns = k["like_pattern_list"] if "like_pattern_list" in k else [k["like_pattern"]]
    return matches(c, patterns, k.get("match_on"), k.get("escape"))


def _greater(a: Column, b: Column, k: Mapping[str, Any]) -> Column:
    return a >= b if k["or_equal"] else a > b  # GX adds "or both null", but an unknown answer is no violation anyway


def _pair_in_set(a: Column, b: Column, k: Mapping[str, Any]) -> Column:
    if not k["value_pairs_set"]:
        raise SuiteError("needs at least one pair in value_pairs_set.")
    return reduce(or_, (a.eqNullSafe(F.lit(x)) & b.eqNullSafe(F.lit(y)) for x, y in k["value_pairs_set"]))


def _sum_equal(columns: list[Column], types: list[T.DataType], k: Mapping[str, Any]) -> Column:
    # Integers are widened as GX does; a decimal sum that overflows is null here, where GX would stop with an error.
    wide = [
        F.coalesce(column, F.lit(0)).cast("decimal(38,0)") if isinstance(kind, _INTEGRAL) else F.coalesce(column, F.lit(0))
        for column, kind in zip(columns, types, strict=True)
    ]
    return F.coalesce(reduce(F.try_add, wide) == F.lit(k["sum_total"]), F.lit(False))


def _all_equal(columns: list[Column], types: list[T.DataType], k: Mapping[str, Any]) -> Column:
    return reduce(and_, (columns[0].eqNullSafe(other) for other in columns[1:]), F.lit(True))


def _unique_within(columns: list[Column], types: list[T.DataType], k: Mapping[str, Any]) -> Column:
    pairs = [(a, b) for i, a in enumerate(columns) for b in columns[i + 1 :]]
    return ~reduce(or_, (a.eqNullSafe(b) for a, b in pairs))


COLUMN: dict[str, Callable[[Column, Mapping[str, Any]], Column]] = {
    "expect_column_values_to_not_be_null": lambda c, k: c.isNotNull(),
    "expect_column_values_to_be_null": lambda c, k: c.isNull(),
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": lambda c, k: ~_in_set(c, k),
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_match_regex": lambda c, k: c.rlike(k["regex"]),
    "expect_column_values_to_not_match_regex": lambda c, k: ~c.rlike(k["regex"]),
    "expect_column_values_to_match_regex_list": _regex_list,
    "expect_column_values_to_not_match_regex_list": _no_regex,
    "expect_column_values_to_match_like_pattern": _like,
    "expect_column_values_to_not_match_like_pattern": lambda c, k: ~_like(c, k),
    "expect_column_values_to_match_like_pattern_list": _like,
    "expect_column_values_to_not_match_like_pattern_list": lambda c, k: ~_like(c, k),
    "expect_column_value_lengths_to_equal": lambda c, k: F.length(c) == F.lit(k["value"]),
    "expect_column_value_lengths_to_be_between": lambda c, k: _between(F.length(c), k),
}
PAIR: dict[str, Callable[[Column, Column, Mapping[str, Any]], Column]] = {
    "expect_column_pair_values_a_to_be_greater_than_b": _greater,
    "expect_column_pair_values_to_be_equal": lambda a, b, k: a.eqNullSafe(b),
    "expect_column_pair_values_to_be_in_set": _pair_in_set,
}
RECORD: dict[str, Callable[[list[Column], list[T.DataType], Mapping[str, Any]], Column]] = {
    "expect_multicolumn_sum_to_equal": _sum_equal,
    "expect_multicolumn_values_to_be_equal": _all_equal,
    "expect_select_column_values_to_be_unique_within_record": _unique_within,
}
TYPES = ("expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list")
COMPILED = (*COLUMN, *PAIR, *RECORD, *TYPES)
_SKIPS_NO_NULLS = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")


def resolve(schema: T.StructType, name: str) -> tuple[Column, T.DataType]:
    """Find a column, or a field inside a struct (``payload.delay``), in a schema.

    Raises:
        SuiteError: There is none.
    """
    if name in schema.fieldNames():
        return F.col(_quoted(name)), schema[name].dataType
    kind: T.DataType = schema
    for part in (parts := name.split(".")):
        if not isinstance(kind, T.StructType) or part not in kind.fieldNames():
            raise SuiteError(f"names column {name!r}, which the table has not; it has: {', '.join(schema.fieldNames())}.")
        kind = kind[part].dataType
    return F.col(".".join(map(_quoted, parts))), kind


def violation(rule: Rule, schema: T.StructType) -> Column:
    """Compile a rule of ``COLUMN``, ``PAIR`` or ``RECORD`` to a boolean column: this row breaks it. Never null.

    Raises:
        SuiteError: A column is unknown, or the arguments can never work; the message is the end of a sentence.
    """
    found = [resolve(schema, name) for name in rule.columns]
    columns = [column for column, _ in found]
    if rule.type in COLUMN:
        broken = ~COLUMN[rule.type](columns[0], rule.kwargs)
        if rule.type not in _SKIPS_NO_NULLS:
            broken = columns[0].isNotNull() & broken
    elif rule.type in PAIR:
        if rule.type.endswith("_to_be_in_set") and rule.row_condition:
            raise SuiteError("has a row_condition, which Great Expectations 1.24 ignores here; split the suite otherwise.")
        broken = ~PAIR[rule.type](columns[0], columns[1], rule.kwargs)
    else:
        broken = ~RECORD[rule.type](columns, [kind for _, kind in found], rule.kwargs)
    match rule.kwargs.get("ignore_row_if"):
        case "both_values_are_missing" | "all_values_are_missing":
            broken = ~reduce(and_, (column.isNull() for column in columns)) & broken
        case "either_value_is_missing" | "any_value_is_missing":
            broken = ~reduce(or_, (column.isNull() for column in columns)) & broken
        case None | "neither" | "never":
            pass
        case other:
            raise SuiteError(f"has ignore_row_if {other!r}, which Great Expectations does not know.")
    if rule.row_condition:
        broken = F.expr(f"({rule.row_condition})") & broken
    return F.coalesce(broken, F.lit(False))


def type_holds(rule: Rule, schema: T.StructType) -> bool:
    """Answer a rule of ``TYPES`` from the schema, as GX does on Spark.

    Raises:
        SuiteError: The column is unknown, or a type is none of Spark's.
    """
    _, kind = resolve(schema, rule.columns[0])
    names = [rule.kwargs["type_"]] if "type_" in rule.kwargs else rule.kwargs["type_list"]
    classes = [cls for name in names if isinstance(cls := getattr(T, str(name), None), type)]
    if len(classes) < len(names) or not names:
        raise SuiteError(f"names the types {names}; Spark's are written like LongType, StringType, TimestampType.")
    return isinstance(kind, tuple(classes))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
