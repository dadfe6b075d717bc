"""The commands of a newcomer, on servers of their own: what each prints, and what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sightings import wait_for

from lakehouse.serving.client import subscribe
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.workspace import Workspace

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
Tidemill = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of the reference tables."""
    folder = tmp_path_factory.mktemp("demo")
    declared = (ROOT / "tidemill.toml").read_text()
    declared = declared.replace('tables = "lakehouse"', f'tables = "{ROOT}/lakehouse"')
    declared = declared.replace('expectations = "expectations"', f'expectations = "{ROOT}/expectations"')
    declared = declared.replace("present = 2013-12-30T00:00:00Z", "present = 2013-01-04T00:00:00Z")
    (folder / "tidemill.toml").write_text(declared + '\n[lake]\ndriver_memory = "2g"\n')
    return folder


@pytest.fixture(scope="module")
def tidemill(folder: Path) -> Iterator[Tidemill]:
    """Run a command in the workspace; its servers are wiped at the end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "jobs", *arguments], cwd=folder, capture_output=True, text=True)

    yield run
    assert run("down", "--wipe", "--yes").returncode == 0


def answer(tidemill: Tidemill, *arguments: str) -> Any:
    done = tidemill(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_demo_once_ends_with_the_account_and_an_answer_and_the_other_commands_go_on_from_there(tidemill: Tidemill) -> None:
    done = tidemill("demo", "--once", "--end", "2013-01-03")
    assert done.returncode == 0, done.stderr
    for part in ("events published", "The account", "A first answer from gold", "carrier_month @ version"):
        assert part in done.stdout

    published = answer(tidemill, "replay", "flights", "--end", "2013-01-04")["feeds"]["flights"]
    assert published["acked"] > 1000
    assert published["skipped"] > 1000
    feeds = answer(tidemill, "status")["feeds"]
    assert feeds["flights"]["in_flight"] == published["acked"]
    assert answer(tidemill, "run", "--once") == {"stopped": {}}

    account = answer(tidemill, "account", "--verify", "--batches", "5")["feeds"]
    assert account["flights"]["read"] == account["flights"]["silver"] == published["acked"] + published["skipped"]
    assert account["flights"]["violations"] == []
    assert sum(batch["rows_written"] for batch in account["flights"]["batches"]) == account["flights"]["silver"]
    assert "each record is in exactly one place" in tidemill("account", "--verify", "--batches", "2").stdout

    count = "SELECT count(*) AS n FROM gold.routes"
    before = answer(tidemill, "query", count)
    assert answer(tidemill, "rebuild", "gold.routes") == {"table": "gold.routes", "rows": before["rows"][0][0]}
    after = answer(tidemill, "query", count)
    assert after["rows"] == before["rows"]
    assert after["versions"]["gold.routes"] > before["versions"]["gold.routes"]
    refused = tidemill("rebuild", "bronze.flights")
    assert refused.returncode == 1
    assert "nothing to rebuild it from" in refused.stderr


def test_demo_runs_both_lanes_and_pushes_what_happens_until_it_is_ended(tidemill: Tidemill, folder: Path) -> None:
    """The first three days are past; the fourth happens, an hour a minute."""
    log = folder / "demo.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "jobs", "demo", "--end", "2013-01-05"]
        demo = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    try:
        wait_for(lambda: "/live shows rows" in log.read_text(), "the fast lane is started", demo, 400)
        workspace = Workspace.load(folder)
        wait_for(lambda: (folder / ".tidemill/push.json").exists(), "the push service is there", demo, 400)
        for change in subscribe(Endpoint.of(workspace), "flights"):
            if change.kind == "rows" and change.rows[-1]["event_time"] >= "2013-01-04T00:30":
                break
        children = psutil.Process(demo.pid).children(recursive=True)
        live = answer(tidemill, "status")["live"]["flights"]
        assert (live["state"], live["sink"]) == ("running", "running")
        assert live["latency"]["producer_to_socket"]["rows"] > 0
    finally:
        demo.send_signal(signal.SIGTERM)
        try:
            demo.wait(120)
        finally:
            demo.kill()
            demo.wait()
    assert demo.returncode == 0, log.read_text()[-3_000:]
    servers = {server["pid"] for server in answer(tidemill, "status")["servers"].values() if server["pid"]}
    servers |= {child.pid for pid in servers for child in psutil.Process(pid).children(recursive=True)}
    left = [process for process in psutil.wait_procs(children, timeout=30)[1] if process.pid not in servers]
    assert left == []
