"""Apache Flink, in an environment of its own: the same parse, rules and join as SQL, Kafka → Kafka, at its quickest.

What was chosen, where there was a choice, is in Flink's favour: see ``flink_job.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path
from uv import find_uv_bin

from lakehouse.catalog import Catalog
from lakehouse.jvm.jars import Jar, download
from lakehouse.lanes.reference import read_reference
from lakehouse.settings import Settings
from lakehouse.stack import java
from lakehouse.workspace import Workspace

from ...errors import BenchError
from ...process import Process
from ._contender import SOURCE, Contender

LIVE, DEAD_LETTERS = "flink.live", "flink.dlq"

_LOCK = Path(__file__).with_name("flink.lock.toml")
_JOB = Path(__file__).with_name("flink_job.py")


@contextmanager
def running(workspace: Workspace) -> Iterator[Contender]:
    """Run the job in a cluster of one process."""
    python, jar = installed()
    names = read_reference(Catalog.load(workspace)["reference.countries"])
    task = {
        "jar": jar.as_uri(),
        "servers": Settings.load(workspace).require("kafka"),
        "source": SOURCE,
        "live": LIVE,
        "dead_letters": DEAD_LETTERS,
        "checkpoints": (workspace.state / "flink").as_uri(),
        "countries": dict(zip(names["country"], names["country_name"], strict=True)),
    }
    home = java.require().parents[1]
    environment = {"JAVA_HOME": str(home), "PYTHONPATH": "", "FLINK_LOG_DIR": str(workspace.state)}
    with Process([str(python), str(_JOB)], log=workspace.state / "flink.log", environment=environment) as job:
        job.tell(task)
        job.next("running")
        yield Contender((job,), topic=LIVE)


def installed() -> tuple[Path, Path]:
    """Return Flink's Python and its connector's jar; installs both on first use, in the user's cache.

    Raises:
        BenchError: Its environment cannot be made.
        JarError: The connector cannot be downloaded, or is not the one that the lock names.
    """
    lock = tomllib.loads(_LOCK.read_text())
    cache = user_cache_path("tidemill") / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    jar = Jar("spark", lock["coordinate"], lock["sha256"])
    if not (cache / jar.filename).is_file():
        download(jar, cache)
    home = cache / lock["package"].replace("==", "-")
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        for command in (
            ["venv", "--clear", "--python", lock["python"], str(home)],
            ["pip", "install", "--python", str(python), lock["package"]],
        ):
            done = subprocess.run([find_uv_bin(), *command], capture_output=True, text=True, env=os.environ)
            if done.returncode:
                raise BenchError(f"{lock['package']} cannot be installed in {home}: {done.stderr.strip()[-500:]}")
        (home / "installed").write_text(json.dumps(lock))
    return python, cache / jar.filename
