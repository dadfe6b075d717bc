"""The gate: a suite compiled to native Spark predicates, the same in both lanes.

Nothing here is a UDF, an aggregate or a window, so a gate runs in Structured Streaming's Real-time Mode too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from lakehouse.errors import SuiteError, UnknownNameError
from lakehouse.quality import safety
from lakehouse.quality.predicates import COMPILED, TYPES, resolve, type_holds, violation
from lakehouse.quality.suites import Action, LoadedSuite, Rule


@dataclass(frozen=True)
class Gate:
    """A compiled suite.

    Attributes:
        suite: What it was compiled from.
        predicates: Rule id → boolean column "this row breaks the rule", never null. Rules about types are not here: the
            schema answered them.
        gx_only: ``warn`` rules that only Great Expectations checks, on what landed.
    """

    suite: LoadedSuite
    predicates: Mapping[str, Column]
    gx_only: tuple[Rule, ...]

    def violated(self, *actions: Action) -> Column:
        """Return a boolean column, never null: the row breaks some rule with one of these actions."""
        return reduce(or_, self._of(actions).values(), F.lit(False))

    def reasons(self) -> Column:
        """Return ``array<string>``: ids of the ``drop`` rules that the row breaks; null for a good row."""
        return self._ids("drop")

    def failures(self) -> Column:
        """Return ``array<string>``: ids of the ``fail`` rules that the row breaks; null for a good row."""
        return self._ids("fail")

    def warnings(self) -> Column:
        """Return ``array<string>``: ids of the ``warn`` rules that the row breaks; null for a good row."""
        return self._ids("warn")

    def warn_counts(self) -> list[Column]:
        """Return one aggregate for each ``warn`` rule, named by its id: pass them to ``DataFrame.observe``."""
        return self.counts("warn")

    def counts(self, *actions: Action) -> list[Column]:
        """Return one aggregate for each rule with one of these actions: how many rows break it."""
        return [F.count_if(broken).alias(rule) for rule, broken in self._of(actions).items()]

    def describe(self, rule_id: str) -> str:
        """Return one line about a rule, for people.

        Raises:
            UnknownNameError: The suite has no such rule.
        """
        for rule in self.suite.rules:
            if rule.id == rule_id:
                return str(rule)
        raise UnknownNameError(
            f"Suite {self.suite.name} has no rule {rule_id}; it has: {', '.join(r.id for r in self.suite.rules) or 'none'}."
        )

    def _of(self, actions: Iterable[Action]) -> dict[str, Column]:
        return {r.id: self.predicates[r.id] for r in self.suite.rules if r.action in actions and r.id in self.predicates}

    def _ids(self, action: Action) -> Column:
        broken = self._of([action])
        if not broken:
            return F.lit(None).cast("array<string>")
        none = F.array().cast("array<string>")
        # Good rows, nearly all, pay for one OR of the predicates and no array. `filter` and `array_compact` would be
        # shorter, but a lambda takes the whole projection out of code generation.
        named = [F.when(predicate, F.array(F.lit(rule))).otherwise(none) for rule, predicate in broken.items()]
        return F.when(self.violated(action), F.concat(*named))


def compile_gate(suite: LoadedSuite, schema: StructType) -> Gate:
    """Compile a suite for rows of one schema. Needs an active Spark session; runs no job.

    Args:
        suite: The suite.
        schema: The columns that the rows have when they pass the gate.

    Raises:
        SuiteError: An expectation names an unknown column, cannot be a gate although its action is ``drop`` or ``fail``,
            or could throw on some row. The message names suite and expectation.
    """
    rows = SparkSession.active().createDataFrame([], schema)
    predicates: dict[str, Column] = {}
    gx_only: list[Rule] = []
    for rule in suite.rules:
        try:
            for column in rule.columns:
                resolve(schema, column)
            if _only_gx(rule):
                gx_only.append(rule)
            elif rule.type in TYPES:
                _check_type(rule, schema, gx_only)
            else:
                predicate = violation(rule, schema)
                safety.check(rows, predicate)
                predicates[rule.id] = predicate
        except SuiteError as error:
            raise SuiteError(f"Suite {suite.name}: {rule.id} {error}") from error.__cause__
    return Gate(suite, predicates, tuple(gx_only))


def _only_gx(rule: Rule) -> bool:
    """Whether only Great Expectations can check a rule; refused unless its action is ``warn``."""
    if rule.type not in COMPILED:
        why = "is not about one row at a time, so it cannot be a gate; make it warn(…), which Great Expectations checks."
        if "unique" in rule.type:
            why += " Uniqueness across rows is the table's `keys`."
    elif rule.mostly < 1:
        why = f"has mostly={rule.mostly:g}, which no single row can break; leave it out, or make it warn(…)."
    else:
        return False
    if rule.action != "warn":
        raise SuiteError(why)
    return True


def _check_type(rule: Rule, schema: StructType, gx_only: list[Rule]) -> None:
    if rule.action == "warn":
        gx_only.append(rule)
    elif not type_holds(rule, schema):
        _, kind = resolve(schema, rule.columns[0])
        raise SuiteError(f"can never hold: the column is {type(kind).__name__}; change the suite or the table.")
