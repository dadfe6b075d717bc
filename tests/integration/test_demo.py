"""The commands of a newcomer, on servers of their own: what each prints, and what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
Tidemill = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tidemill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tidemill]:
    """Run a command in a workspace of the reference tables; its servers are wiped at the end."""
    folder = tmp_path_factory.mktemp("demo")
    declared = (ROOT / "tidemill.toml").read_text()
    declared = declared.replace('tables = "lakehouse"', f'tables = "{ROOT}/lakehouse"')
    declared = declared.replace('expectations = "expectations"', f'expectations = "{ROOT}/expectations"')
    (folder / "tidemill.toml").write_text(declared + '\n[lake]\ndriver_memory = "2g"\n')

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
