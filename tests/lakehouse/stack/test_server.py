from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from lakehouse.errors import StackError
from lakehouse.settings import Part
from lakehouse.stack import ports
from lakehouse.stack.server import EndedError, Server, Site

LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print("listening", flush=True)
    while True:
        server.accept()[0].close()
"""
FAIL = """
import sys
for number in range(30):
    print("line", number)
sys.exit("out of luck")
"""


class Listener(Server):
    part: ClassVar[Part] = "valkey"
    port_names = ("listener",)
    process_names = (Path(sys.executable).name,)
    start_seconds = 10
    stop_seconds = 5
    code = LISTEN

    def prepare(self) -> None:
        (self.site.folder / "prepared").touch()

    def argv(self) -> list[str]:
        return [sys.executable, "-c", self.code, str(self.port)]

    def probe(self) -> None:
        if not ports.answers(self.port):
            raise ConnectionError("nobody listens")

    def settings(self) -> dict[str, str]:
        return {"url": f"redis://{ports.LOOPBACK}:{self.port}"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(Site(tmp_path / "data", tmp_path / "logs" / "log", {"listener": ports.choose(set())}, {}))
    yield made
    made.stop(None)


def test_it_starts_answers_and_stops(server: Listener) -> None:
    identity = server.start()
    server.wait_ready(identity)
    assert (server.site.folder / "prepared").exists()
    assert server.site.log.read_text() == "listening\n"
    server.stop(identity)
    assert identity.live() is None
    assert not ports.answers(server.port)


def test_a_start_ends_what_an_unrecorded_start_left(server: Listener) -> None:
    first = server.start()
    server.wait_ready(first)
    second = server.start()
    server.wait_ready(second)
    assert first.live() is None
    assert second.live() is not None


def test_a_server_that_ends_is_reported_with_the_end_of_its_log(server: Listener) -> None:
    server.code = FAIL
    with pytest.raises(EndedError, match="valkey ended while it started") as caught:
        server.wait_ready(server.start())
    lines = str(caught.value).splitlines()
    assert {"line 29", "out of luck"} <= set(lines)
    assert "line 3" not in lines


def test_a_server_that_says_nothing_is_given_up(server: Listener) -> None:
    server.code = "import time; time.sleep(60)"
    server.start_seconds = 0.3
    with pytest.raises(StackError, match="did not answer within 0 seconds"):
        server.wait_ready(server.start())


def test_an_answer_of_somebody_else_is_not_taken_for_ours(server: Listener) -> None:
    server.code = "pass"
    identity = server.start()
    process = identity.live()
    if process is not None:
        process.wait(10)
    with socket.create_server((ports.LOOPBACK, server.port)), pytest.raises(EndedError, match="another program answers"):
        server.wait_ready(identity)


def test_a_large_log_is_put_aside(server: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.stack.server._LOG_LIMIT", 3)
    server.site.log.parent.mkdir()
    server.site.log.write_text("much")
    server.wait_ready(server.start())
    assert server.site.log.read_text() == "listening\n"
    assert server.site.log.with_suffix(".log.1").read_text() == "much"


def test_a_folder_that_cannot_be_made_is_a_sentence(server: Listener) -> None:
    server.site.folder.touch()
    with pytest.raises(StackError, match=r"valkey cannot be started.*tidemill doctor"):
        server.start()
