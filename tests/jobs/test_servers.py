from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from jobs.servers import Progress, as_dict, table
from lakehouse.stack.supervisor import ServerStatus


def test_a_terminal_sees_one_line_for_each_server_and_then_none() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60)
    with Progress(console) as progress:
        progress.report("kafka", "starting")
        progress.report("s3", "starting")
        progress.report("kafka", "ready on 127.0.0.1:20001")
    assert "✓" in screen.getvalue()
    assert "ready on 127.0.0.1:20001" in screen.getvalue()


def test_a_pipe_gets_one_plain_line_for_each_event() -> None:
    screen = io.StringIO()
    with Progress(Console(file=screen)) as progress:
        progress.report("kafka", "starting")
        progress.report("kafka", "ready")
    assert screen.getvalue().splitlines() == ["kafka: starting", "kafka: ready"]


def test_every_state_can_be_shown() -> None:
    servers = [
        ServerStatus("kafka", "crashed", "127.0.0.1:1", None, Path("log")),
        ServerStatus("s3", "unhealthy", "127.0.0.1:2", 5, Path("log")),
        ServerStatus("postgres", "stopped", None, None, Path("log")),
    ]
    screen = io.StringIO()
    Console(file=screen, width=100).print(table(servers))
    assert [line.split()[1] for line in screen.getvalue().splitlines()] == ["state", "crashed", "unhealthy", "stopped"]
    assert list(as_dict(servers)["servers"]) == ["kafka", "s3", "postgres"]
