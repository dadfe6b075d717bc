"""The push service, in a process of its own on a real broker, with real WebSocket clients."""

from __future__ import annotations

import json
import os
import signal
import socket as sockets
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import valkey
from pushes import Lane, heard, hello, pushing, row, talk
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lakehouse.catalog import Catalog, Kafka
from lakehouse.errors import SourceError
from lakehouse.livetables import LiveSpec, live_tables
from lakehouse.serving.client import Change, subscribe
from lakehouse.serving.push.access import PROTOCOL
from lakehouse.serving.push.endpoint import OLDEST, Endpoint
from lakehouse.settings import Settings
from lakehouse.sources.kafka import delete_topic, ensure_topic
from lakehouse.sources.live import read_row
from lakehouse.storage.latest import Latest
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def workspace(gulls: Workspace) -> Workspace:
    return gulls


@pytest.fixture
def settings(workspace: Workspace) -> Settings:
    return Settings.load(workspace)


@pytest.fixture
def spec(workspace: Workspace) -> LiveSpec:
    return live_tables(workspace, Catalog.load(workspace))["gulls"]


def numbers(changes: Iterator[Change], count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        change = next(changes)
        assert change.kind == "rows"
        found += [x["n"] for x in change.rows]
    return found


def test_rows_reach_those_who_want_them_and_only_them(workspace: Workspace, settings: Settings) -> None:
    lane = Lane(settings)
    with pushing(workspace):
        everything = subscribe(Endpoint.of(workspace), "gulls", position=at_beginning(workspace))
        some = subscribe(
            Endpoint.of(workspace),
            "gulls",
            filter={"id": ["g1", "g2"], "n": {"ge": 100}},
            columns=["n"],
            position=at_beginning(workspace),
        )
        lane.write(range(200))
        lane.write(range(150, 200))  # again, as after a crash of the driver
        lane.write(range(200, 210))
        assert sorted(numbers(everything, 210)) == list(range(210))
        assert sorted(numbers(some, 22)) == [n for n in range(100, 210) if n % 10 in (1, 2)]


def at_beginning(workspace: Workspace) -> str:
    """Return the position where the service is, so that what is written from now on is surely seen."""
    with talk(workspace) as socket:
        return str(hello(socket)["position"])


REFUSED: list[tuple[Any, str]] = [
    ({"filter": {"id": None}}, "a value is text, a number"),
    ({"filter": {"nowhere": 1}}, "No column nowhere; there are"),
    ({"columns": ["n", "x"]}, "No column x"),
    ({"filter": {"n": {"like": 1}}}, "'like' is no operator"),
    ({"frame_ms": -1}, "frame_ms"),
    ({"drop": "table"}, "drop"),
    ({"filter": {"id": []}}, "1 to 1,000 values"),
    ([], "Input should be"),
    ("x" * 1000, "Input should be"),
]


def test_who_may_not_come_in_stays_out(workspace: Workspace, settings: Settings) -> None:
    with pushing(workspace):
        for request, says in REFUSED:
            with talk(workspace) as socket:
                socket.send(json.dumps(request))
                answer = heard(socket)
                assert (answer["type"], says in answer["reason"]) == ("error", True), answer
                with pytest.raises(ConnectionClosed) as closed:
                    socket.recv(timeout=5)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
        with talk(workspace) as socket:
            socket.send("{broken")
            assert heard(socket)["type"] == "error"
        with talk(workspace) as socket:
            socket.send(b"\xff\xfe")
            assert heard(socket)["type"] == "error"
        with talk(workspace, feed="nowhere") as socket:
            assert "no live table 'nowhere'" in heard(socket)["reason"]
        for token, origin in (
            ("wrong", None),
            (None, "https://evil.example"),
            (None, "http://localhost.evil.example"),
            (None, "null"),
        ):
            with pytest.raises(InvalidStatus) as refused:
                talk(workspace, token, origin)
            assert refused.value.response.status_code == 403
        with talk(workspace, Endpoint.of(workspace).ticket, "http://localhost:5006") as socket:
            assert hello(socket)["type"] == "hello"
        endpoint = Endpoint.of(workspace)
        offered = [PROTOCOL, f"bearer.{endpoint.ticket}"]
        with connect(f"{endpoint.url}/live/gulls", subprotocols=offered, proxy=None) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == PROTOCOL
            assert hello(socket)["type"] == "hello"
        with pytest.raises(SourceError, match="refuses this client"):
            next(subscribe(Endpoint(endpoint.url, "wrong"), "gulls"))
        with pytest.raises(SourceError, match="no operator"):
            next(subscribe(endpoint, "gulls", filter={"n": {"like": 1}}))


def test_a_subscriber_goes_on_where_it_was_after_the_service_was_killed(workspace: Workspace, settings: Settings) -> None:
    lane, total = Lane(settings), 2_000
    found: list[int] = []
    done = threading.Event()
    with pushing(workspace) as process:
        changes = subscribe(Endpoint.of(workspace), "gulls", position=at_beginning(workspace), frame_ms=0)

        def read() -> None:
            while len(found) < total:
                change = next(changes)
                assert change.kind == "rows", change
                found.extend(x["n"] for x in change.rows)
            done.set()

        reading = threading.Thread(target=read, daemon=True)
        reading.start()

        def produce() -> None:
            for start in range(0, total, 20):
                lane.write(range(start, start + 20), keys=total)
                time.sleep(0.02)

        producing = threading.Thread(target=produce)
        producing.start()
        while not found:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert producing.is_alive(), "nothing was in flight"
        assert len(found) < total
    with pushing(workspace):
        producing.join()
        assert done.wait(60), f"only {len(found)} rows came"
    assert sorted(found) == list(range(total))


def test_one_who_wants_none_of_many_rows_hears_how_far_they_are(workspace: Workspace, settings: Settings) -> None:
    lane, over = Lane(settings), threading.Event()

    def produce() -> None:
        for n in range(10_000):
            if over.wait(0.1):
                return
            lane.write(range(n, n + 1))

    with pushing(workspace), talk(workspace) as socket:
        begin = hello(socket, filter={"id": "nobody"})["position"]
        producing = threading.Thread(target=produce)
        producing.start()
        try:
            beats = [heard(socket) for _ in range(2)]
        finally:
            over.set()
            producing.join()
        positions = [begin, *(x["position"] for x in beats)]
        assert [x["type"] for x in beats] == ["beat", "beat"]
        assert len(set(positions)) == 3, "a client that comes back would read what it had passed long ago"
        assert 0 in numbers(subscribe(Endpoint.of(workspace), "gulls", position=begin), 10)


def test_one_who_does_not_read_is_dropped_and_slows_nobody(workspace: Workspace, settings: Settings) -> None:
    lane = Lane(settings)
    with pushing(workspace):
        begin = at_beginning(workspace)
        quick = subscribe(Endpoint.of(workspace), "gulls", position=begin, frame_ms=0)
        stuck = sockets.create_connection(("127.0.0.1", int(Endpoint.of(workspace).url.rpartition(":")[2])))
        shake_hands(stuck, Endpoint.of(workspace).token)
        began, n = time.monotonic(), 0
        came: list[float] = []
        while time.monotonic() - began < 10:
            lane.write(range(n, n + 400), keys=1_000_000)
            sent = time.monotonic()
            assert sorted(numbers(quick, 400)) == list(range(n, n + 400))
            came.append(time.monotonic() - sent)
            n += 400
        assert max(came) < 2, "others waited for it as long as it may stall"
        stuck.settimeout(20)
        held = 0
        while got := stuck.recv(1 << 20):  # what lies in the buffers of both sides, and then the end
            held += len(got)
        assert held < n * len(row(n)) / 2, "it was sent everything"
        stuck.close()


def shake_hands(stuck: sockets.socket, token: str) -> None:
    """Ask for everything, and never read."""
    head = (
        "GET /live/gulls HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    stuck.sendall(head.encode())
    assert stuck.recv(12) == b"HTTP/1.1 101"
    stuck.sendall(b"\x81\x82\0\0\0\0{}")  # a text frame, masked with noughts


def test_a_position_that_is_gone_is_a_gap_and_the_latest_states_follow(
    workspace: Workspace, settings: Settings, spec: LiveSpec
) -> None:
    lane = Lane(settings)
    with valkey.Valkey.from_url(settings.require("valkey")) as client:
        latest = Latest(client, spec)
        old = read_row(row(3, keys=1_000_000)), read_row(row(2_000_000 + 8, keys=1_000_000))
        latest.put([x for x in old if x])  # states that Valkey alone has
    with pushing(workspace):
        begin = at_beginning(workspace)
        lane.write(range(10, 12_000))
        deadline = time.monotonic() + 30
        while True:  # until the service has read all of it
            gap, snapshot = islice(
                subscribe(Endpoint.of(workspace), "gulls", position=begin, snapshot=True, columns=["id", "n"]), 2
            )
            if snapshot.position.endswith(":0=5995,1=5995"):
                break
            assert time.monotonic() < deadline, snapshot
        assert (gap.kind, snapshot.kind) == ("gap", "snapshot")
        assert gap.reason
        expected = {f"g{x}": 11_990 + x for x in range(10)} | {"g8": 2_000_008}
        assert {x["id"]: x["n"] for x in snapshot.rows} == expected
        delete_topic(settings, "gulls.live")
        other = subscribe(Endpoint.of(workspace), "gulls", position=snapshot.position)
        ensure_topic(settings, Kafka("gulls.live", partitions=2))
        lane.write(range(5))
        change = next(other)
        assert change.kind == "gap", change


def test_who_wants_every_row_gets_each_from_the_oldest_on_until_it_stops(workspace: Workspace, settings: Settings) -> None:
    lane, stop, told = Lane(settings), threading.Event(), list[bool]()
    lane.write(range(3_000))
    with pushing(workspace):
        changes = subscribe(
            Endpoint.of(workspace), "gulls", position=OLDEST, every=True, frame_ms=300, stop=stop, tell=told.append
        )
        assert sorted(numbers(changes, 3_000)) == list(range(3_000))  # of ten keys
        lane.write(range(3_000, 5_000))
        assert sorted(numbers(changes, 2_000)) == list(range(3_000, 5_000))
        stop.set()
        assert list(changes) == []
        assert told[0] is True
