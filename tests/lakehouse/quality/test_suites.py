from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lakehouse.errors import SuiteError
from lakehouse.quality import Suite, drop, fail, load, warn
from lakehouse.quality.suites import LoadedSuite
from lakehouse.workspace import Workspace

PYTHON = """
from great_expectations import expectations as gxe
from lakehouse.quality import Suite, drop, fail, warn

suite = Suite([
    drop(gxe.ExpectColumnValuesToNotBeNull(column="flight_id")),
    fail(gxe.ExpectColumnValuesToBeInSet(column="event", value_set=["departed", "arrived"])),
    warn(gxe.ExpectColumnValuesToBeBetween(column="delay", min_value=-120, max_value=2000, description="a day at most")),
])
"""
YAML = """
expectations:
  - {type: expect_column_values_to_not_be_null, kwargs: {column: flight_id}, action: drop}
  - {type: expect_column_values_to_be_in_set, kwargs: {column: event, value_set: [departed, arrived]}, action: fail}
  - type: expect_column_values_to_be_between
    kwargs: {column: delay, min_value: -120, max_value: 2000}
    action: warn
    description: a day at most
"""
Load = Callable[[str, str], LoadedSuite]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Write a suite into a workspace of its own, and load it."""

    def write(text: str, ending: str) -> LoadedSuite:
        folder = tmp_path / "expectations" / "silver"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"flights{ending}").write_text(text)
        return load(Workspace(tmp_path, {}), "silver/flights")

    return write


def test_python_and_yaml_say_the_same(loaded: Load, tmp_path: Path) -> None:
    suite = loaded(PYTHON, ".py")
    (tmp_path / "expectations/silver/flights.py").unlink()
    assert loaded(YAML, ".yml") == suite
    assert suite.name == "silver/flights"
    assert [(rule.action, rule.id) for rule in suite.rules] == [
        ("drop", "expect_column_values_to_not_be_null(flight_id)"),
        ("fail", "expect_column_values_to_be_in_set(event)"),
        ("warn", "expect_column_values_to_be_between(delay)"),
    ]
    asked = "min_value=-120.0, max_value=2000.0"
    assert str(suite.rules[2]) == f"expect_column_values_to_be_between(delay) – {asked} – a day at most"


def test_version_follows_what_the_rules_say(loaded: Load) -> None:
    first = loaded(YAML, ".yml")
    assert loaded(YAML.replace("a day at most", "in minutes"), ".yml").version == first.version
    assert loaded(YAML.replace("action: warn", "action: drop"), ".yml").version != first.version
    assert loaded(YAML.replace("2000", "1999"), ".yml").version != first.version


def test_version_is_the_same_in_every_process(loaded: Load, tmp_path: Path) -> None:
    text = PYTHON.replace(
        '["departed", "arrived"]', '{"departed", "arrived", "cancelled", "diverted", "boarded", "delayed", "taxied", "landed"}'
    )
    script = tmp_path / "version.py"
    script.write_text(
        "import sys; from pathlib import Path; from lakehouse.quality import load; from lakehouse.workspace import Workspace\n"
        'print(load(Workspace(Path(sys.argv[1]), {}), "silver/flights").version)\n'
    )
    version = loaded(text, ".py").version
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version


def test_two_rules_on_one_column_have_ids_of_their_own(loaded: Load) -> None:
    again = "  - {type: expect_column_values_to_be_between, kwargs: {column: delay, max_value: 90}, action: warn}\n"
    assert [rule.id for rule in loaded(YAML + again, ".yml").rules][2:] == [
        "expect_column_values_to_be_between(delay)",
        "expect_column_values_to_be_between(delay)#2",
    ]


def test_times_without_a_zone_are_utc(loaded: Load) -> None:
    suite = loaded(YAML.replace("min_value: -120, max_value: 2000", "min_value: 2013-01-01T06:00:00"), ".yml")
    assert suite.rules[2].kwargs["min_value"] == datetime(2013, 1, 1, 6, tzinfo=UTC)
    assert suite.rules[2].expectation.min_value == datetime(2013, 1, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("not_be_null", "not_be_nul", "silver/flights: expectation 1: there is no .*_not_be_nul; known: .*_not_be_null"),
        ("action: drop", "action: skip", "expectation 1 .* has action 'skip'; known: warn, drop, fail"),
        ("max_value: 2000", "maximum: 2000", "expectation 3 .*maximum.*extra fields not permitted"),
        ("column: flight_id", "column: [1]", "expectation 1 .*column"),
        (", action: drop", "", "expectation 1 must have type and action"),
        ("action: drop", "action: drop, when: always", "expectation 1 must have type and action"),
        ("action: drop", "action: drop, action: warn", "is no YAML: DuplicateKeyError"),
        ("expectations:", "rules:", "must hold one list, `expectations:`"),
        ("expectations:", "expectations: [", "is no YAML"),
        ("kwargs: {column: flight_id}", "kwargs: 3", "kwargs must be a mapping"),
        ("max_value: 2000", "max_value: {$PARAMETER: most}", "leaves a parameter for max_value to run time"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_yaml_is_named(loaded: Load, old: str, new: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        loaded(YAML.replace(old, new, 1), ".yml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("warn(gxe", "(gxe", r"silver/flights: Expectation 3 \(ExpectColumnValuesToBeBetween\) says no action"),
        ("suite = ", "rules = ", "flights.py must define `suite = Suite"),
        ("gxe.ExpectColumnValuesToNotBeNull", "gxe.ExpectNothing", "AttributeError.*ExpectNothing"),
        ("import drop", "import (", "SyntaxError"),
        ("gxe.ExpectColumnValuesToNotBeNull(column=\"flight_id\")", "'not null'", "expectation 1 is no Great Expectations"),
        ("min_value=-120", "minimum=-120", "ValidationError.*minimum"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_python_is_named(loaded: Load, old: str, new: str, message: str) -> None:
    text = PYTHON.replace("Suite, drop, fail, warn", "Suite, fail, warn\nfrom lakehouse.quality import drop")
    assert old in text
    with pytest.raises(SuiteError, match=message):
        loaded(text.replace(old, new, 1), ".py")


def test_the_same_expectation_twice_is_refused(loaded: Load) -> None:
    with pytest.raises(SuiteError, match=r"expectation 4 \(expect_column_values_to_not_be_null\) is there twice"):
        loaded(YAML + "  - {type: expect_column_values_to_not_be_null, kwargs: {column: flight_id}, action: warn}\n", ".yml")


def test_a_suite_written_twice_or_never_is_refused(loaded: Load, tmp_path: Path) -> None:
    loaded(YAML, ".yml")
    with pytest.raises(SuiteError, match=r"No suite silver/weather in .*; there are: silver/flights"):
        load(Workspace(tmp_path, {}), "silver/weather")
    with pytest.raises(SuiteError, match="is there twice"):
        loaded(PYTHON, ".py")


def test_wrappers_need_no_great_expectations() -> None:
    assert [item.action for item in Suite([warn(1), drop(2), fail(3)]).expectations] == ["warn", "drop", "fail"]
    code = "import sys, lakehouse.quality as q; q.Suite([q.drop(1)]); assert 'great_expectations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
