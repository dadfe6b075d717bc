"""Fixtures that many tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from lakehouse.catalog import Catalog
from lakehouse.session import build_session
from lakehouse.settings import Settings
from lakehouse.stack import supervisor
from lakehouse.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))  # tests are files, not packages; this makes lakes.py and its like importable
pytest_plugins = ["browsing", "lakes", "pushes", "sightings", "coasts"]  # which imports the two before it

TIMESCALEDB = "TIDEMILL_TEST_TIMESCALEDB"
"""The environment variable with the address of a database that has the extension."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One small driver for the whole run: starting it costs more than most tests."""
    settings = Settings.model_validate({"lake": {"driver_memory": "2g", "cores": 2}})
    session = build_session(settings, "tests", scratch=tmp_path_factory.mktemp("spark"))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Settings]]:
    """A workspace with all embedded servers up, for tests that only read and write through them."""
    root = tmp_path_factory.mktemp("stack")
    (root / "tidemill.toml").write_text('[workspace]\nname = "tests"\n')
    workspace = Workspace.load(root)
    try:
        supervisor.up(workspace)
        yield workspace, Settings.load(workspace)
    finally:
        supervisor.down(workspace, wipe=True)


@pytest.fixture(scope="session", params=["partitions", "hypertable"])
def hot_kind(request: pytest.FixtureRequest) -> str:
    """How the hot store keeps its tables: tests that ask for this run once for each way."""
    return str(request.param)


@pytest.fixture(scope="session")
def hot_settings(hot_kind: str, request: pytest.FixtureRequest) -> Settings:
    """Where a PostgreSQL is that keeps new tables in that way; the embedded one has no TimescaleDB."""
    if hot_kind == "partitions":
        settings: Settings = request.getfixturevalue("stack")[1]
        return settings
    if not (dsn := os.environ.get(TIMESCALEDB)):
        pytest.skip(f"{TIMESCALEDB} names no PostgreSQL with TimescaleDB, and the embedded one has none")
    return Settings.model_validate({"postgres": {"dsn": dsn}})


@pytest.fixture(scope="session")
def reference_workspace() -> Workspace:
    """The workspace that ships with the project."""
    return Workspace.load(Path(__file__).parents[1])


@pytest.fixture(scope="session")
def catalog(reference_workspace: Workspace) -> Catalog:
    """The tables of the workspace that ships with the project."""
    return Catalog.load(reference_workspace)


@pytest.fixture(scope="session")
def expected_flights() -> ModuleType:
    """The reference tables computed with pandas straight from the files: ``tests/expected_flights.py``."""
    spec = importlib.util.spec_from_file_location("expected_flights", Path(__file__).with_name("expected_flights.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TIDES = {
    "bronze/tides.py": (
        "from lakehouse.catalog import Kafka, bronze\n\n"
        'tides = bronze("tides", source=Kafka("tides"), description="Levels as they came.")\n'
    ),
    "silver/tides.py": (
        "from typing import Annotated, Any\n\nfrom lakehouse.catalog import Bronze, Json, silver\n\n\n"
        '@silver("tides", keys=["gauge"], parse=Json("gauge STRING, at TIMESTAMP"), event_time="at", watermark="1 hour",\n'
        '        future="1 hour")\n'
        'def tides(records: Annotated[Any, Bronze("tides")]) -> Any:\n    """Levels of each gauge."""\n    return records\n'
    ),
    "gold/levels.py": (
        "from typing import Annotated, Any\n\nfrom lakehouse.catalog import Silver, gold\n\n\n"
        '@gold("levels", keys=["gauge"])\n'
        'def levels(tides: Annotated[Any, Silver("tides")]) -> Any:\n    """The highest level of each gauge."""\n    return tides\n'
    ),
}


@pytest.fixture(scope="session")
def tides(stack: tuple[Workspace, Settings], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace of one small feed on the running servers, for tests of what is shown of tables; nothing runs it."""
    tables = tmp_path_factory.mktemp("tides")
    for name, text in TIDES.items():
        (tables / name).parent.mkdir(exist_ok=True)
        (tables / name).write_text(text)
    return Workspace(stack[0].root, {"workspace": {"name": "tides", "tables": str(tables)}})
