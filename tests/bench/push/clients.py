"""Many clients in one process: opens connections, and counts how old each row is that comes.

Reads one JSON object a line: ``{"clients": 500}`` opens or closes connections until there are so many, ``{"seconds": 10}`` measures.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import orjson
from bokeh.protocol import Protocol
from bokeh.util.token import generate_jwt_token, generate_session_id

from ..lines import hear, say
from .ages import Ages
from .rows import FEED, SHOWN, filter_of, shards
from .websocket import Connection, open_socket

_AT_ONCE = 100
_PATIENCE = 30.0
_STAMP = re.compile(rb"sent_us\W{1,3}(\d{16})")  # as JSON has it, and as HTML in JSON


class Crowd:
    """The clients of this process.

    Args:
        join: Opens the connection of one client, by its number; its last argument is called with each message.
        first: Number of the first client.
        step: Distance to the next one; other processes have those between.
    """

    def __init__(self, join: Callable[..., Any], first: int, step: int) -> None:
        self._join = join
        self._first, self._step = first, step
        self._there: dict[int, Connection] = {}
        self._fresh: list[int] = []
        self._seen: dict[int, int] = {}
        self.lost = self.refused = self.messages = self.bytes = 0
        self.ages = Ages()
        self._counting = False

    async def grow(self, count: int) -> None:
        """Open or close connections until there are so many, or some are refused."""
        self.lost = self.refused = 0
        wanted = range(self._first, self._first + self._step * count, self._step)
        for client in [x for x in self._there if x not in wanted]:
            self._there.pop(client).leave()
        missing = iter([x for x in wanted if x not in self._there])
        while not self.refused and (some := list(islice(missing, _AT_ONCE))):
            for done in await asyncio.gather(*map(self._open, some), return_exceptions=True):
                self.refused += isinstance(done, OSError)
                if isinstance(done, BaseException) and not isinstance(done, OSError):
                    raise done

    async def measure(self, seconds: float) -> dict[str, Any]:
        """Count for a while."""
        self.ages, self.messages, self.bytes = Ages(), 0, 0
        self._counting = True
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(0.5, left))
            self.ages.add(self._fresh)
            self._fresh.clear()
        self._counting = False
        return {
            "ages": self.ages.counts,
            "messages": self.messages,
            "bytes": self.bytes,
            "lost": self.lost,
            "refused": self.refused,
        }

    async def _open(self, client: int) -> None:
        def heard(message: bytes) -> None:
            now = time.time_ns() // 1000
            self.messages += 1
            self.bytes += len(message)
            if self._counting and (stamps := _STAMP.findall(message)):
                last = self._seen.get(client, 0)  # a page shows some rows again
                times = [int(x) for x in stamps]
                self._fresh += [now - x for x in times if x > last] if min(times) <= last else [now - x for x in times]
                self._seen[client] = max(last, *times)

        def closed() -> None:
            self.lost += 1
            self._there.pop(client, None)

        self._there[client] = await self._join(client, heard, closed)


async def join_push(url: str, token: str, client: int, *calls: Callable[..., None]) -> Connection:
    """Subscribe at the push service."""
    connection = await open_socket(f"{url}/live/{FEED}", {"Authorization": f"Bearer {token}"}, *calls)
    connection.send(orjson.dumps({"filter": filter_of(client), "columns": SHOWN}))
    return connection


async def join_panel(url: str, token: str, client: int, heard: Callable[[bytes], None], closed: Callable[[], None]) -> Connection:
    """Open a session as ``bokeh.client.pull_session`` does, without making a document of what comes."""
    greeted = asyncio.Event()

    def listen(message: bytes) -> None:
        greeted.set()
        heard(message)

    first, end = shards(client)
    headers = {"Sec-WebSocket-Protocol": f"bokeh, {generate_jwt_token(generate_session_id())}"}
    connection = await open_socket(f"{url}/live/ws?first={first}&end={end}", headers, listen, closed)
    async with asyncio.timeout(_PATIENCE):
        await greeted.wait()  # who asks earlier is closed: there is no session yet
    message = Protocol().create("PULL-DOC-REQ")
    for part in (message.header_json, message.metadata_json, message.content_json):
        connection.send(part.encode())
    return connection


async def main(contender: str, url: str, first: str, step: str) -> None:
    """Do what is asked for until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    token = hear()
    join = {"push": join_push, "panel": join_panel}[contender]
    crowd = Crowd(lambda client, *calls: join(url, token, client, *calls), int(first), int(step))
    say("ready")
    with suppress(EOFError):
        while wanted := await asyncio.to_thread(hear):
            if "clients" in wanted:
                await crowd.grow(wanted["clients"])
                say("there", refused=crowd.refused)
            else:
                say("measured", **await crowd.measure(wanted["seconds"]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
