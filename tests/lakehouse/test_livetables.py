from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.catalog import Catalog
from lakehouse.errors import DeclarationError, UnknownNameError
from lakehouse.livetables import LiveSpec, live_tables
from lakehouse.workspace import Workspace

FILES = {
    "bronze/tides.py": 'from lakehouse.catalog import Kafka, bronze\n\ntides = bronze("tides", source=Kafka("tides"))\n',
    "silver/tides.py": """
        from typing import Annotated, Any
        from lakehouse.catalog import Bronze, Json, silver

        @silver("tides", keys=["gauge"], parse=Json("gauge STRING, at TIMESTAMP"), event_time="at", watermark="1 hour", future="1 hour")
        def tides(records: Annotated[Any, Bronze("tides")]) -> Any:
            return records
        """,
    "silver/levels.py": """
        from typing import Annotated, Any
        from lakehouse.catalog import Silver, silver

        @silver("levels", keys=["gauge"])
        def levels(tides: Annotated[Any, Silver("tides")]) -> Any:
            return tides
        """,
}
LIVE = """
from typing import Annotated, Any
from lakehouse.catalog import Reference, Silver
from lakehouse.livetables import live

@live({arguments})
def tides(rows: Annotated[Any, Silver("{reads}")]) -> Any:
    '''Levels as they come.'''
    return rows
"""
GOOD = '"tides", keys=["gauge"], sequence_by="at"'


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., dict[str, LiveSpec]]:
    def load(text: str, name: str = "tides") -> dict[str, LiveSpec]:
        for file, content in {**FILES, f"live/{name}.py": text}.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(textwrap.dedent(content))
        workspace = Workspace(tmp_path, {"workspace": {"name": "t", "tables": str(tmp_path)}})
        return live_tables(workspace, Catalog.load(workspace))

    return load


def test_a_declaration_says_what_is_kept(found: Callable[..., dict[str, LiveSpec]]) -> None:
    spec = found(LIVE.format(arguments=GOOD + ', retention="90 minutes", window="1 hour"', reads="tides"))["tides"]
    assert (spec.keys, spec.sequence_by, spec.description) == (("gauge",), "at", "Levels as they come.")
    assert (spec.retention, spec.window) == (timedelta(minutes=90), timedelta(hours=1))
    assert (spec.live_topic, spec.dead_letter_topic) == ("tides.live", "tides.dlq")


@pytest.mark.parametrize(
    ("text", "name", "error", "words"),
    [
        (LIVE.format(arguments=GOOD + ', retention="soon"', reads="tides"), "tides", DeclarationError, "'soon' is no duration"),
        (LIVE.format(arguments=GOOD + ', window="0 hours"', reads="tides"), "tides", DeclarationError, "no duration"),
        (LIVE.format(arguments=GOOD.replace('["gauge"]', "[]"), reads="tides"), "tides", DeclarationError, "needs keys"),
        (LIVE.format(arguments=GOOD, reads="levels"), "tides", DeclarationError, "it can read silver.tides"),
        (LIVE.format(arguments=GOOD, reads="waves"), "tides", UnknownNameError, "No table silver.waves"),
        (LIVE.format(arguments=GOOD, reads="tides"), "waves", DeclarationError, "must declare just live.waves"),
        (
            LIVE.format(arguments=GOOD.replace('"tides"', '"levels"'), reads="tides"),
            "levels",
            UnknownNameError,
            "named after no feed; there are: tides",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_name(
    found: Callable[..., dict[str, LiveSpec]], text: str, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        found(text, name)


def test_the_reference_workspace_has_its_flights(reference_workspace: Workspace, catalog: Catalog) -> None:
    assert list(live_tables(reference_workspace, catalog)) == ["flights"]
