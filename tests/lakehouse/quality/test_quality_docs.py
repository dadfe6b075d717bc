"""What docs/quality.md shows works, and says what it says there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from lakehouse.errors import SuiteError
from lakehouse.quality import Suite, compile_gate, drop, load
from lakehouse.quality.predicates import COMPILED
from lakehouse.quality.suites import _loaded, import_gx
from lakehouse.workspace import Workspace

PAGE = (Path(__file__).parents[3] / "docs" / "quality.md").read_text(encoding="utf-8")
SCHEMA = "flight_id STRING, event STRING, delay DOUBLE"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(("language", "ending", "rules"), [("python", ".py", 5), ("yaml", ".yml", 2)])
def test_the_suites_compile(spark: SparkSession, tmp_path: Path, language: str, ending: str, rules: int) -> None:
    (tmp_path / "expectations/silver").mkdir(parents=True)
    (tmp_path / f"expectations/silver/flights{ending}").write_text(block(language))
    gate = compile_gate(load(Workspace(tmp_path, {}), "silver/flights"), StructType.fromDDL(SCHEMA))
    assert len(gate.suite.rules) == rules
    assert len(gate.predicates) + len(gate.gx_only) == rules


@pytest.mark.filterwarnings(r"ignore:[\s\S]* deprecated as of GX Core 1.9.0:DeprecationWarning")
def test_the_refusals_read_as_printed(spark: SparkSession) -> None:
    import_gx()
    from great_expectations import expectations as gxe

    refused = [
        gxe.ExpectColumnValuesToBeBetween(column="event", min_value=1),
        gxe.ExpectColumnValuesToNotBeNull(column="delay", row_condition="delay / 2 > 1", condition_parser="spark"),
        gxe.ExpectColumnValuesToNotBeNull(column="flight"),
        gxe.ExpectColumnValuesToBeUnique(column="flight_id"),
    ]
    said = []
    for expectation in refused:
        with pytest.raises(SuiteError) as error:
            compile_gate(_loaded("silver/flights", Suite([drop(expectation)])), StructType.fromDDL(SCHEMA))
        said.append(str(error.value))
    assert block("text").splitlines() == said


def test_every_expectation_that_compiles_is_in_the_table() -> None:
    shown = {name for line in PAGE.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z_…]+)`", line)}
    for kind in COMPILED:
        name = kind.removeprefix("expect_")
        tails = [name.endswith(other.removeprefix("…")) for other in shown if other.startswith("…")]
        assert name in shown or any(tails) or "_regex" in name or "_like" in name, kind
