"""A workspace on the servers that run already, and a lane of it in a process of its own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import valkey
from lakes import forget_keys

from lakehouse.settings import Settings
from lakehouse.sources.kafka import delete_topic
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

_PATIENCE = 30.0


@contextmanager
def workspace_of(
    stack: tuple[Workspace, Settings], folder: Path, files: Mapping[str, str], topics: Iterable[str]
) -> Iterator[Workspace]:
    """Make a workspace of some files; at the end its topics, its hot store and all of Valkey are gone."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".tidemill").mkdir()
    write_private(folder / ".tidemill/stack.json", (stack[0].state / "stack.json").read_text())
    workspace = Workspace.load(folder)
    settings = Settings.load(workspace)
    forget_keys(settings)
    yield workspace
    for topic in topics:
        delete_topic(settings, topic)
    with psycopg.connect(settings.require("postgres"), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS hot CASCADE")
    with valkey.Valkey.from_url(settings.require("valkey")) as client:
        client.flushall()


@contextmanager
def running(workspace: Workspace, lane: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a lane in a process group of its own; ended, or else killed, at the end."""
    command = [sys.executable, "-m", "jobs", "run", "--lane", lane, *options]
    root = Path(__file__).parents[1]
    environment = os.environ | {"TIDEMILL_WORKSPACE": str(workspace.root), "PYTHONPATH": str(root)}
    with (workspace.root / f"{''.join([lane, *options])}.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=workspace.root, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # as an operator ends it; then it also says which lines it ran
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(f"The end of {log.name}:", *Path(log.name).read_text(errors="replace").splitlines()[-20:], sep="\n")
