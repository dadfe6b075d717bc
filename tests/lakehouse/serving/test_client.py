"""What a client of the push service remembers, against a service that breaks off."""

from __future__ import annotations

import threading
from typing import Any

import orjson
from websockets.sync.server import ServerConnection, serve

from lakehouse.serving.client import subscribe
from lakehouse.serving.push.access import PROTOCOL
from lakehouse.serving.push.endpoint import Endpoint


def test_a_client_goes_on_after_what_it_had_though_the_service_breaks_off_after_its_hello() -> None:
    asked: list[Any] = []

    def answer(socket: ServerConnection) -> None:
        asked.append(orjson.loads(socket.recv())["position"])
        socket.send(orjson.dumps({"type": "hello", "position": f"t:0={len(asked) * 10}"}).decode())
        if len(asked) == 3:
            socket.send(orjson.dumps({"type": "rows", "rows": [{"n": 1}], "position": "t:0=31"}).decode())

    with serve(answer, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as server:  # type: ignore[list-item]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        assert next(subscribe(Endpoint(url, "secret"), "gulls", position="t:0=5")).position == "t:0=31"
        assert asked == ["t:0=5"] * 3
        asked.clear()
        next(subscribe(Endpoint(url, "secret"), "gulls"))
        assert asked == [None, "t:0=10", "t:0=10"]
        server.shutdown()
