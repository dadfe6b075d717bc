"""A workspace with one live table, its push service in a process of its own, and what writes its rows."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from live_lanes import running, workspace_of
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lakehouse.catalog import Kafka
from lakehouse.clients import librdkafka, trusting
from lakehouse.errors import TidemillError
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic
from lakehouse.storage.hot import declare
from lakehouse.workspace import Workspace

FILES = {
    "bronze/gulls.py": 'from lakehouse.catalog import Kafka, bronze\n\ngulls = bronze("gulls", source=Kafka("gulls", partitions=2))\n',
    "silver/gulls.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Bronze, Json, silver

@silver("gulls", keys=["id"], parse=Json("id STRING, at TIMESTAMP, n INT"), event_time="at", watermark="1 day", future="1 hour")
def gulls(records: Annotated[DataFrame, Bronze("gulls")]) -> DataFrame:
    return records.select("_record", "id", "at", "n")
""",
    "live/gulls.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Silver
from lakehouse.livetables import live

@live("gulls", keys=["id"], sequence_by="n")
def gulls(seen: Annotated[DataFrame, Silver("gulls")]) -> DataFrame:
    return seen.select("_record", "id", "at", "n")
""",
    "tidemill.toml": '[workspace]\nname = "gulls"\n[push]\nring_rows = 5000\nstall_seconds = 2\n',
}


@pytest.fixture
def gulls(stack: tuple[Workspace, Settings], tmp_path: Path) -> Iterator[Workspace]:
    with workspace_of(stack, tmp_path, FILES, ["gulls.live"]) as workspace:
        settings = Settings.load(workspace)
        ensure_topic(settings, Kafka("gulls.live", partitions=2))
        declare(settings.require("postgres"), "gulls", {"id": "text", "at": "timestamptz", "n": "integer"})
        yield workspace


@contextmanager
def pushing(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service; back when it answers."""
    with running(workspace, "push") as process:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service does not answer"
            try:
                with talk(workspace) as socket:
                    hello(socket)
                    break
            except (TidemillError, OSError, ConnectionClosed, InvalidStatus):  # it is not there yet
                time.sleep(0.1)
        yield process


def talk(workspace: Workspace, token: str | None = None, origin: str | None = None, feed: str = "gulls") -> ClientConnection:
    endpoint = Endpoint.of(workspace)
    headers = {"Authorization": f"Bearer {token or endpoint.token}"} | ({"Origin": origin} if origin else {})
    trust = trusting(endpoint.ca) if endpoint.ca else None
    return connect(f"{endpoint.url}/live/{feed}", additional_headers=headers, proxy=None, max_size=None, ssl=trust)


def hello(socket: ClientConnection, **request: Any) -> dict[str, Any]:
    socket.send(json.dumps(request))
    return heard(socket)


def heard(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(socket.recv(timeout=30))
    return found


class Lane:
    """Writes rows to the live topic as the fast lane does."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Producer({**librdkafka(settings), "linger.ms": 5})

    def write(self, numbers: range, keys: int = 10) -> None:
        for n in numbers:
            self._producer.produce("gulls.live", row(n, keys), partition=n % 2)
        assert self._producer.flush(30) == 0


def row(n: int, keys: int = 10) -> bytes:
    origin = {"_topic_id": "t", "_partition": n % 2, "_offset": n // 2, "_timestamp": "2013-01-01T00:00:00Z"}
    return json.dumps({"id": f"g{n % keys}", "at": "2013-01-01T00:00:00Z", "n": n, **origin}).encode()
