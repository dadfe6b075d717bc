"""Fixtures that many tests share."""

from __future__ import annotations

import importlib.util
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


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One small driver for the whole run: starting it costs more than most tests."""
    settings = Settings.model_validate({"lake": {"driver_memory": "1g", "cores": 2}})
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
