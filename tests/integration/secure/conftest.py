"""A secure workspace with everything running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from coasts import POLICY, USERS
from doors import gateway
from guests import BRONZE, SILVER, SUITE, booking
from live_lanes import running
from pushes import FILES, pushing
from secured import CLOCK_MS, GULLS, MARKER

from lakehouse.catalog import Kafka
from lakehouse.clients import postgres_dsn
from lakehouse.security.authority import Authority
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic
from lakehouse.sources.replay import Event, publish
from lakehouse.stack import supervisor
from lakehouse.storage.hot import declare
from lakehouse.workspace import Workspace

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="package")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace of gulls, in a folder with a space, with everything running."""
    root = tmp_path_factory.mktemp("secure") / "my lake"
    guests = {
        "bronze/guests.py": BRONZE.format(feed="guests", topic="guests"),
        "silver/guests.py": SILVER.format(feed="guests"),
        "expectations/silver/guests.py": SUITE,
    }
    for name, text in {**FILES, **guests, "policy.yml": POLICY, "users.yml": USERS}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    made = Workspace.load(root)
    try:
        supervisor.up(made, secure=True)
        settings = Settings.load(made)
        ensure_topic(settings, Kafka("gulls.live", partitions=2))
        declare(postgres_dsn(settings), "gulls", {"id": "text", "at": "timestamptz", "n": "integer"})
        with gateway(made), pushing(made), running(made, "hot"):
            yield made
    finally:
        supervisor.down(made, wipe=True)


@pytest.fixture(scope="package", autouse=True)
def lake(workspace: Workspace, settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """The lake lane, which reads a feed to its end while other things are looked at."""
    values = [{"id": f"{MARKER} {n}", "at": "2013-01-01T00:26:40Z", "n": n} for n in range(GULLS)]
    source = Kafka("gulls", partitions=2)
    ensure_topic(settings, source)
    publish(settings, source, [Event(CLOCK_MS, str(x["n"]).encode(), json.dumps(x).encode()) for x in values])
    publish(settings, Kafka("guests", partitions=2), [Event(CLOCK_MS, b"1", booking(1, "ada@example.org"))])
    environment = os.environ | {"TIDEMILL_WORKSPACE": str(workspace.root)}
    command = [sys.executable, "-m", "jobs", "run", "--once"]
    with (workspace.root / "lake.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, text=True)
        yield process
        process.kill()
        process.wait()


@pytest.fixture(scope="package")
def settings(workspace: Workspace) -> Settings:
    return Settings.load(workspace)


@pytest.fixture(scope="package")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority of somebody else."""
    other = Authority(Workspace(tmp_path_factory.mktemp("other"), {}))
    other.renew(Settings())
    return other.ca
