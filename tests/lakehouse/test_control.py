"""The control database, when it is away."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from lakehouse.control import Control
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


def test_a_query_goes_on_though_nobody_can_be_told_how_it_fares(stack: tuple[Workspace, Settings]) -> None:
    with closing(Control(stack[1].require("postgres"))) as control:
        control.say("silver.said", "paused", "x" * 1000)
        assert control.states()["silver.said"]["reason"] == "x" * 500
        control.run("DELETE FROM tidemill.table_state WHERE \"table\" = 'silver.said'")
        control.close()
        control._dsn = "postgresql://127.0.0.1:1/gone"  # nothing listens on port 1
        with pytest.raises(psycopg.OperationalError):
            control.set_state("silver.said", "running")
        control.say("silver.said", "running")
