"""As a user would: the wheel in a new environment, a workspace outside the checkout, a feed of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
RECORDS = 100

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def tidemill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has the wheel and what it needs, in the versions of the lock; nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")

    def run(*arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        subprocess.run([uv, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)

    run("build", "--wheel", "--out-dir", str(folder))
    run("export", "--frozen", "--no-dev", "--no-hashes", "--no-emit-project", "--output-file", str(folder / "pins.txt"))
    run("venv", "--python", sys.executable, str(folder / "env"))
    (wheel,) = folder.glob("*.whl")
    python = str(folder / "env/bin/python")
    run("pip", "install", "--python", python, "--constraint", str(folder / "pins.txt"), str(wheel))
    return folder / "env/bin/tidemill"


@pytest.fixture
def outside(tidemill: Path, tmp_path: Path) -> Iterator[Any]:
    """Run a command outside the checkout; whatever happens, the servers are stopped."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEMILL_", "PYTHON", "COV", "VIRTUAL_ENV"))}

    def run(*arguments: str, cwd: Path = tmp_path / "ws") -> str:
        done = subprocess.run(
            [str(tidemill), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, f"tidemill {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    yield run
    if (tmp_path / "ws/.tidemill").exists():
        subprocess.run([str(tidemill), "down", "--wipe", "--yes"], cwd=tmp_path / "ws", env=environment, timeout=120, check=True)


def test_a_workspace_of_ones_own_from_the_wheel(outside: Any, tmp_path: Path) -> None:
    outside("init", "ws", "--empty", cwd=tmp_path)
    outside("new", "feed", "readings")
    broker = json.loads(outside("up", "--json"))["servers"]["kafka"]["address"]
    publish(broker)
    assert json.loads(outside("run", "--once", "--json")) == {"stopped": {}}

    feed = json.loads(outside("account", "--verify", "--json"))["feeds"]["readings"]
    counted = {name: feed[name] for name in ("read", "silver", "dead_letters", "duplicates", "in_flight", "violations")}
    assert counted == {
        "read": RECORDS + 1,
        "silver": RECORDS,
        "dead_letters": 1,
        "duplicates": 0,
        "in_flight": 0,
        "violations": [],
    }
    answer = json.loads(outside("query", "--json", "SELECT kind, sum(events) AS n FROM gold.readings_by_hour GROUP BY kind"))
    assert answer["rows"] == [["tick", RECORDS]]

    outside("down", "--wipe", "--yes")
    assert [entry.name for entry in (tmp_path / "ws/.tidemill").iterdir()] == ["stack.lock"]


def publish(broker: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker})  # kept by name: one that is collected takes its requests with it
    admin.create_topics([NewTopic("readings", 2)])["readings"].result(timeout=30)
    refused: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": broker, "on_delivery": lambda error, _: error and refused.append(error)})
    now = datetime.now(UTC).isoformat()
    values = [json.dumps({"id": str(i), "happened_at": now, "kind": "tick", "value": i / 4}) for i in range(RECORDS)]
    for value in [*values, "no JSON"]:
        producer.produce("readings", value.encode())
    assert producer.flush(60) == 0
    assert not refused
