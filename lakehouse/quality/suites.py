"""Suites: the only place that says what a good row is.

A suite is a file ``expectations/<layer>/<table>.py`` that defines ``suite = Suite([drop(…), warn(…), fail(…)])``, or a
``.yml`` beside it with the same content as data.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from lakehouse.declarations import load_module
from lakehouse.errors import SuiteError, TidemillError
from lakehouse.workspace import Workspace

Action = Literal["warn", "drop", "fail"]
ACTIONS: tuple[Action, ...] = get_args(Action)

# Fields of every GX expectation that say nothing about which rows are good.
_ADMINISTRATIVE = {
    *("id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity"),
    *("windows", "batch_id", "row_condition", "condition_parser", "mostly"),
}


@dataclass(frozen=True)
class Expected:
    """An expectation together with what happens to a row that breaks it."""

    action: Action
    expectation: Any


def warn(expectation: Any) -> Expected:
    """Keep rows that break this Great Expectations expectation, and count them."""
    return Expected("warn", expectation)


def drop(expectation: Any) -> Expected:
    """Send rows that break this Great Expectations expectation to the dead letters, with the reason."""
    return Expected("drop", expectation)


def fail(expectation: Any) -> Expected:
    """Stop the stream, with nothing of the batch written, when a row breaks this Great Expectations expectation."""
    return Expected("fail", expectation)


class Suite:
    """The expectations of one table."""

    def __init__(self, expectations: Iterable[Expected]) -> None:
        """Check that each expectation says its action.

        Raises:
            SuiteError: One is not wrapped in ``warn``, ``drop`` or ``fail``.
        """
        self.expectations = tuple(expectations)
        for number, item in enumerate(self.expectations, 1):
            if not isinstance(item, Expected):
                raise SuiteError(
                    f"Expectation {number} ({type(item).__name__}) says no action; wrap it in warn(…), drop(…) or fail(…)."
                )


@dataclass(frozen=True)
class Rule:
    """One expectation of a loaded suite.

    Attributes:
        id: Unique within the suite: ``expect_column_values_to_be_between(delay)``; reasons of dead letters name it.
        type: GX's name of the expectation.
        kwargs: What it is given, GX's defaults included; without ``row_condition`` and ``mostly``.
        action: What happens to a row that breaks it.
        row_condition: Spark SQL text of the rows that it is about; ``None``: all.
        mostly: Share of the rows that must keep to it.
        description: The suite's own words about it, or an empty string.
        expectation: The GX object, for validation.
    """

    id: str
    type: str
    kwargs: Mapping[str, Any]
    action: Action
    row_condition: str | None
    mostly: float
    description: str
    expectation: Any = field(repr=False, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names as such (a ``row_condition`` may name more)."""
        named = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        return tuple(name for name in [*named, *self.kwargs.get("column_list", ())] if name)

    def __str__(self) -> str:
        """Return one line for people: the id, what is asked, of which rows."""
        hidden = {"column", "column_A", "column_B", "column_list"}
        asked = [f"{k}={v!r}" for k, v in self.kwargs.items() if k not in hidden and v is not None and v is not False]
        condition = f"where {self.row_condition}" if self.row_condition else ""
        return " – ".join(filter(None, [self.id, ", ".join(asked), condition, self.description]))


@dataclass(frozen=True)
class LoadedSuite:
    """A suite as it was read from a workspace.

    Attributes:
        name: ``<layer>/<table>``.
        version: Hash of the rules; the same rules have the same version on every machine.
        rules: In the order of the file.
    """

    name: str
    version: str
    rules: tuple[Rule, ...]


def load(workspace: Workspace, name: str) -> LoadedSuite:
    """Read one suite.

    Args:
        workspace: Where it lies.
        name: ``<layer>/<table>``, without the ending.

    Raises:
        SuiteError: No such suite, or something in it is wrong; the message names suite and expectation.
    """
    files = [file for ending in (".py", ".yml") if (file := workspace.expectations / f"{name}{ending}").is_file()]
    if not files:
        found = workspace.expectations.glob("*/[!_]*")
        known = sorted(str(f.relative_to(workspace.expectations).with_suffix("")) for f in found if f.suffix in (".py", ".yml"))
        raise SuiteError(f"No suite {name} in {workspace.expectations}; there are: {', '.join(known) or 'none'}.")
    if len(files) > 1:
        raise SuiteError(f"Suite {name} is there twice: {files[0]} and {files[1]}; delete one.")
    import_gx()
    try:
        suite = _from_python(files[0], name) if files[0].suffix == ".py" else _from_yaml(files[0])
        return _loaded(name, suite)
    except SuiteError as error:
        raise SuiteError(f"Suite {name}: {error}") from error.__cause__


def import_gx() -> None:
    """Import Great Expectations with its usage data switched off, and with what Tidemill adds to it."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import lakehouse.quality.like  # noqa: F401


def _from_python(file: Path, name: str) -> Suite:
    try:
        suite = getattr(load_module(file, f"expectations.{file.parent.name}"), "suite", None)
    except SuiteError:
        raise
    except TidemillError as error:
        cause = error.__cause__
        raise (cause if isinstance(cause, SuiteError) else SuiteError(_brief(cause or error))) from cause
    if not isinstance(suite, Suite):
        raise SuiteError(f"{file.name} must define `suite = Suite([…])`.")
    return suite


def _from_yaml(file: Path) -> Suite:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))  # refuses a key given twice
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{file.name} is no YAML: {_brief(error)}") from error
    if not isinstance(data, dict) or set(data) != {"expectations"} or not isinstance(data["expectations"], list):
        raise SuiteError(f"{file.name} must hold one list, `expectations:`, and nothing else.")
    return Suite([_entry(number, entry) for number, entry in enumerate(data["expectations"], 1)])


def _entry(number: int, entry: Any) -> Expected:
    known = {"type", "kwargs", "action", "description"}
    if not isinstance(entry, dict) or not {"type", "action"} <= set(entry) <= known:
        raise SuiteError(f"expectation {number} must have type and action, may have kwargs and description, nothing else.")
    kind, action, kwargs = entry["type"], entry["action"], entry.get("kwargs") or {}
    if action not in ACTIONS:
        raise SuiteError(f"expectation {number} ({kind}) has action {action!r}; known: {', '.join(ACTIONS)}.")
    if not isinstance(kwargs, dict):
        raise SuiteError(f"expectation {number} ({kind}): kwargs must be a mapping.")
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    names = list_registered_expectation_implementations()
    if kind not in names:
        near = difflib.get_close_matches(str(kind), names, 3) or sorted(names)
        raise SuiteError(f"expectation {number}: there is no {kind}; known: {', '.join(near)}.")
    description: Any = {"description": str(entry["description"])} if "description" in entry else {}
    try:
        return Expected(action, get_expectation_impl(kind)(**kwargs, **description))
    except Exception as error:  # GX raises pydantic v1 errors, ValueError, TypeError and its own
        raise SuiteError(f"expectation {number} ({kind}): {_brief(error)}") from error


def _loaded(name: str, suite: Suite) -> LoadedSuite:
    rules: list[Rule] = []
    seen: Counter[str] = Counter()
    for number, item in enumerate(suite.expectations, 1):
        rule = _rule(number, item, seen)
        if any((rule.type, rule.kwargs, rule.row_condition) == (r.type, r.kwargs, r.row_condition) for r in rules):
            raise SuiteError(f"expectation {number} ({rule.type}) is there twice; keep the one with the action you mean.")
        rules.append(rule)
    content = [[r.type, _ordered(r.kwargs), r.action, r.row_condition, r.mostly] for r in rules]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return LoadedSuite(name, digest[:12], tuple(rules))


def _rule(number: int, item: Expected, seen: Counter[str]) -> Rule:
    from great_expectations.expectations.expectation import Expectation

    expectation = item.expectation
    if not isinstance(expectation, Expectation):
        raise SuiteError(f"expectation {number} is no Great Expectations expectation but {type(expectation).__name__}.")
    kind = str(expectation.configuration.type)
    values = expectation.dict()
    parameters = [k for k, v in values.items() if isinstance(v, dict) and "$PARAMETER" in v]
    if parameters or values.get("windows"):
        what = f"parameter for {', '.join(parameters)}" if parameters else "`windows`"
        raise SuiteError(f"expectation {number} ({kind}) leaves a {what} to run time; write the value itself.")
    # A map expectation compares inside Spark; GX gets the same UTC values, so that gate and validation cannot differ by the
    # machine's time zone. Other expectations compare in Python, with the times without a zone that Spark hands out.
    inside = getattr(expectation, "map_metric", None) is not None
    kwargs = {k: _utc(v) if inside else v for k, v in values.items() if k not in _ADMINISTRATIVE}
    validated: Any = expectation.copy(update=kwargs)
    rule = Rule(
        id="",
        type=kind,
        kwargs=kwargs,
        action=item.action,
        row_condition=_row_condition(validated.row_condition) if values.get("row_condition") else None,
        mostly=1.0 if values.get("mostly") is None else float(values["mostly"]),
        description=expectation.description or "",
        expectation=validated,
    )
    name = f"{kind}({','.join(rule.columns)})"
    seen[name] += 1
    unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return Rule(**{**vars(rule), "id": unique})


def _row_condition(condition: Any) -> str:
    """Return GX's own Spark SQL for a row condition, whichever of its four notations was used."""
    from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
    from great_expectations.expectations.row_conditions import PassThroughCondition, deserialize_row_condition

    condition = deserialize_row_condition(condition)
    if isinstance(condition, str):
        return condition
    if isinstance(condition, PassThroughCondition):
        return str(condition.pass_through_filter)
    engine = object.__new__(SparkDFExecutionEngine)  # its constructor would start a Spark session; the text needs none
    return str(engine.condition_to_filter_clause(condition))


def _utc(value: Any) -> Any:
    """Read a time without a zone as UTC: Spark would take it for the local time of the machine."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, list | tuple | set):
        return type(value)(_utc(item) for item in value)
    return value


def _ordered(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Sort the values that are a set to GX: a Python set comes in another order in every process."""
    return {k: sorted(map(repr, v)) if v is not None and k in ("value_set", "value_pairs_set") else v for k, v in kwargs.items()}


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {'; '.join(lines)}"
