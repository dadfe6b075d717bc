from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.catalog import Catalog
from lakehouse.errors import DeclarationError, UnknownNameError
from lakehouse.livetables import LiveSpec, WindowSpec, live_names, live_tables, with_windows
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
from lakehouse.windows import Windows

@live({arguments})
def tides(rows: Annotated[Any, Silver("{reads}")]) -> Any:
    '''Levels as they come.'''
    return rows
"""
GOOD = '"tides", keys=["gauge"], sequence_by="at"'
WINDOWS = ', windows=Windows(by=["gauge"], spans=["1 minute", "2 hours"], measures={"n": "count(*)"})'


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


def test_windows_are_kept_like_a_live_table_of_their_own(found: Callable[..., dict[str, LiveSpec]]) -> None:
    tables = with_windows(found(LIVE.format(arguments=GOOD + WINDOWS + ', retention="3 hours"', reads="tides")))
    assert list(tables) == ["tides", "tides_windows"]
    windows = tables["tides_windows"]
    assert isinstance(windows, WindowSpec)
    assert (windows.feed, windows.table, windows.full_name) == ("tides", tables["tides"], "live.tides_windows")
    assert (windows.live_topic, windows.keys, windows.sequence_by) == ("tides.windows", ("span", "gauge"), "window_start")
    assert windows.retention == timedelta(hours=3)
    assert windows.windows is not None
    assert windows.windows.lengths("x") == {"1 minute": timedelta(minutes=1), "2 hours": timedelta(hours=2)}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"2 hours"', '"soon"', r"live\.tides: a span of its windows: 'soon' is no duration"),
        ('"2 hours"', '"60 seconds"', "two of its windows' spans are the same: 1 minute, 60 seconds"),
        ('["1 minute", "2 hours"]', "[]", "its windows need spans"),
        ('{"n": "count(*)"}', "{}", "its windows need measures"),
        ('["gauge"]', '"gauge"', r'by of its windows is a list: \["gauge"\]'),
        ('"n":', '"gauge":', "its windows have gauge twice"),
        ('"n":', '"window_end":', "its windows have window_end twice; .* other than span, window_start"),
        ('"n":', '"_n":', r"its windows name \['_n'\]"),
    ],
)
def test_windows_that_cannot_be_are_refused_by_name(
    found: Callable[..., dict[str, LiveSpec]], old: str, new: str, words: str
) -> None:
    with pytest.raises(DeclarationError, match=words):
        found(LIVE.format(arguments=GOOD + WINDOWS.replace(old, new), reads="tides"))


def test_the_reference_workspace_has_its_flights(reference_workspace: Workspace, catalog: Catalog) -> None:
    tables = with_windows(live_tables(reference_workspace, catalog))
    assert list(tables) == live_names(reference_workspace) == ["flights", "flights_windows"]
