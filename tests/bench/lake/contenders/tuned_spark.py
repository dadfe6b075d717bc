"""The same three queries with the settings of Tidemill's session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.session import build_session
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from ._chained import Job


@contextmanager
def ready(workspace: Workspace) -> Iterator[Job]:
    """Start the driver as Tidemill starts it."""
    settings = Settings.load(workspace)
    spark = build_session(settings, "tuned_spark", scratch=workspace.state / "tuned_spark")
    try:
        yield Job(spark, settings)
    finally:
        spark.stop()
