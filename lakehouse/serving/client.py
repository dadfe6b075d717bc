"""Read live tables from Python, as they change.

for change in subscribe(Endpoint.of(workspace), "flights", filter={"carrier": "UA"}):
    print(change.rows)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lakehouse.clients import trusting
from lakehouse.errors import SourceError
from lakehouse.serving.push.access import PROTOCOL
from lakehouse.serving.push.endpoint import Endpoint

_LONGEST_PAUSE = 5.0
_GLANCE = 0.5  # seconds between two looks at whether to stop


@dataclass(frozen=True)
class Change:
    """Rows of a live table.

    Attributes:
        kind: ``rows`` that came; ``snapshot``: the latest state of each key; ``gap``: rows may have been missed.
        rows: The rows; empty for a gap.
        position: Where the subscriber is now.
        coalesced: How many earlier rows of the same keys were left out, because the subscriber was slow.
        gated_ms: When the oldest of these rows passed the gate, milliseconds since 1970.
        reason: Why there is a gap.
    """

    kind: Literal["rows", "snapshot", "gap"]
    rows: Sequence[Mapping[str, Any]]
    position: str
    coalesced: int = 0
    gated_ms: int | None = None
    reason: str = ""


def subscribe(
    endpoint: Endpoint,
    feed: str,
    *,
    filter: Mapping[str, Any] | None = None,
    columns: Sequence[str] = (),
    position: str | None = None,
    snapshot: bool = False,
    frame_ms: int = 50,
    every: bool = False,
    purpose: str | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[bool], None] = lambda answers: None,
) -> Generator[Change, None, None]:
    """Yield what changes in a live table, until it is stopped; a connection that breaks is made again where it was.

    Args:
        endpoint: Where the push service is.
        feed: Name of the feed.
        filter: Column → value, list of values, or comparisons: ``{"delay": {"ge": 15}}``; all must hold.
        columns: Which columns; all when empty.
        position: From where on; ``oldest``: from the oldest rows that the service keeps; from now on when left out.
        snapshot: Begin with the latest state of each key.
        frame_ms: Shortest time between two changes, milliseconds.
        every: Every row, however many come at once; otherwise, of many, the last one of each key.
        purpose: What for, where the policy asks.
        stop: Set by another thread: end within a second.
        tell: Called with whether the service answers, at each try.

    Raises:
        SourceError: The service does not let this client in, or says that what it asks for means nothing.
    """
    request: dict[str, Any] = {"filter": dict(filter or {}), "columns": list(columns), "snapshot": snapshot}
    request |= {"frame_ms": frame_ms, "every": every, "purpose": purpose}
    stop = stop or threading.Event()
    pause = 0.1
    trust = trusting(endpoint.ca) if endpoint.url.startswith("wss:") else None
    while not stop.is_set():
        try:
            with connect(
                f"{endpoint.url}/live/{feed}",
                additional_headers={"Authorization": f"Bearer {endpoint.token}"},
                subprotocols=[PROTOCOL],  # type: ignore[list-item]  # a NewType of str
                max_size=None,
                proxy=None,
                ssl=trust,
            ) as socket:
                socket.send(orjson.dumps(request | {"position": position}).decode())
                for message in _messages(socket, stop):
                    kind, at, pause = message.pop("type"), message.pop("position", position), 0.1
                    if kind == "hello":
                        tell(True)
                        if position is not None or snapshot:  # what came before "now" is still to come
                            continue
                    position = at
                    if kind in ("rows", "snapshot", "gap"):
                        yield Change(kind, message.pop("rows", ()), position or "", **message)
        except InvalidStatus as error:
            if error.response.status_code < 500:
                raise SourceError(f"The push service refuses this client ({error.response.status_code}).") from error
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == 1008:
                raise SourceError(f"The push service says: {error.rcvd.reason}") from error
        except (OSError, InvalidHandshake):  # it is away, and will be back
            pass
        tell(False)
        stop.wait(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


def _messages(socket: ClientConnection, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """Yield what the service says until it closes the connection, or this is to stop."""
    while not stop.is_set():
        try:
            yield orjson.loads(socket.recv(timeout=_GLANCE))
        except TimeoutError:
            continue
