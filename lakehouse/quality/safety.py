"""A gate must never throw: one record would stop the stream, and stop it again after every restart.

Spark's ANSI mode throws on casts, arithmetic and patterns that do not work out. So each compiled predicate is analyzed
against the table's schema, and only expressions that cannot throw are let through; constants are worked out at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger
from pyspark.sql import Column, DataFrame, SparkSession

from lakehouse.errors import SuiteError

# Catalyst classes that answer for every input.
_TOTAL = {
    "Alias", "AttributeReference", "Literal", "And", "Or", "Not", "EqualTo", "EqualNullSafe", "GreaterThan",
    "GreaterThanOrEqual", "LessThan", "LessThanOrEqual", "In", "InSet", "Between", "IsNull", "IsNotNull", "IsNaN",
    "NaNvl", "Nvl", "Coalesce", "NullIf", "If", "CaseWhen", "GetStructField", "Upper", "Lower", "StringTrim",
    "StringTrimLeft", "StringTrimRight", "Substring", "Left", "Right", "Length", "OctetLength", "BitLength",
    "StartsWith", "EndsWith", "Contains", "StringInstr", "StringReplace", "Concat", "ConcatWs", "Year", "Month",
    "DayOfMonth", "DayOfWeek", "DayOfYear", "Quarter", "Hour", "Minute", "Second", "DateDiff", "DateAdd", "DateSub",
    "LastDay", "TruncDate", "TruncTimestamp", "Size", "ArrayContains", "Greatest", "Least", "TryAdd", "TrySubtract",
    "TryMultiply", "TryDivide", "TryMod", "TryEval", "Like", "RLike",
}  # fmt: skip
_ARITHMETIC = {"Add", "Subtract", "Multiply", "Divide", "IntegralDivide", "Remainder", "Pmod", "UnaryMinus", "Abs"}
_NEVER_ON_FLOATS = {"Add", "Subtract", "Multiply", "UnaryMinus", "Abs"}


def check(rows: DataFrame, predicate: Column) -> None:
    """Refuse a predicate that could throw on some row of a table; runs no job.

    Args:
        rows: Any frame with the table's schema, for example an empty one.
        predicate: A boolean column over it.

    Raises:
        SuiteError: It could, or it cannot be analyzed; the message is the end of a sentence.
    """
    with quietly():
        try:
            (root,) = _children(rows.select(predicate.alias("broken"))._jdf.queryExecution().analyzed().projectList())
        except PySparkException as error:
            raise SuiteError(f"does not fit the table: {_brief(error)}") from error
        if not root.deterministic():
            raise SuiteError("gives another answer each time it is asked; a gate must not.")
        _walk(rows.sparkSession, root)


def _walk(spark: SparkSession, node: Any) -> None:
    name = str(node.getClass().getSimpleName())
    if name == "Cast":
        _cast(spark, node)
    elif name in _ARITHMETIC:
        _arithmetic(node, name)
    elif name not in _TOTAL:
        raise SuiteError(f"uses {node.prettyName()}, which a gate cannot; leave it out, or warn(…) with a custom expectation.")
    elif name in ("Like", "RLike"):
        _pattern(spark, node, name)
    for child in _children(node.children()):
        _walk(spark, child)


def _cast(spark: SparkSession, node: Any) -> None:
    if node.foldable():
        _work_out(node)
        return
    source, target = node.child().dataType(), node.dataType()
    if str(node.evalMode()) == "ANSI":
        # Spark's own answer to "can every value of this type be one of that type?", which leaves out loss of digits.
        cast = spark._jvm.org.apache.spark.sql.catalyst.expressions.Cast  # type: ignore[union-attr]
        rounds = str(source.sql()).startswith("DECIMAL") and str(target.sql()) in ("DOUBLE", "FLOAT")
        if not rounds and not cast.canUpCast(source, target):
            raise SuiteError(
                f"takes a value of type {source.sql()} for {target.sql()}, which stops the stream on a value that is "
                "none; compare values of one type, or use try_cast in a row_condition."
            )


def _arithmetic(node: Any, name: str) -> None:
    if node.foldable():
        _work_out(node)
        return
    total = name in _NEVER_ON_FLOATS and str(node.dataType().sql()) in ("DOUBLE", "FLOAT")
    with contextlib.suppress(Py4JError):  # not every class has an evaluation mode
        total = total or str(node.evalMode()) == "TRY"
    if not total:
        raise SuiteError(f"uses {node.prettyName()}, which stops the stream on overflow or zero; use try_{node.prettyName()}.")


def _pattern(spark: SparkSession, node: Any, name: str) -> None:
    pattern = node.right()
    if not pattern.foldable():
        raise SuiteError("takes its pattern from a column; a gate needs a constant.")
    text = _work_out(pattern)
    if text is None:
        return
    jvm = spark._jvm
    assert jvm is not None
    try:
        if name == "RLike":
            jvm.java.util.regex.Pattern.compile(str(text))
        else:
            jvm.org.apache.spark.sql.catalyst.util.StringUtils.escapeLikeRegex(str(text), node.escapeChar())
    except (Py4JError, PySparkException) as error:
        raise SuiteError(f"has the pattern {str(text)!r}, which is wrong: {_brief(error)}") from error


def _work_out(node: Any) -> Any:
    try:
        return node.eval(None)
    except (Py4JError, PySparkException) as error:
        raise SuiteError(f"has a constant that cannot be worked out: {_brief(error)}") from error


def _children(sequence: Any) -> list[Any]:
    return [sequence.apply(i) for i in range(sequence.size())]


def _brief(error: Exception) -> str:
    """Return the first line that says something, without Spark's error number."""
    java = getattr(error, "java_exception", None)
    text = str(java.getMessage()) if java is not None else str(error)
    return next(line for line in text.splitlines() if line.strip()).partition(" SQLSTATE")[0]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep pyspark from logging the stack of an error that becomes one sentence here."""
    # Made as pyspark makes it: a plain logger of that name would make every later error of an expression a TypeError.
    logger = PySparkLogger.getLogger("SQLQueryContextLogger")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
