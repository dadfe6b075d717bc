"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

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
