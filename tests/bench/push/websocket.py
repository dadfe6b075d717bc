"""A WebSocket client that costs little: what it measures shares the machine with it."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

_PING, _PONG, _CLOSE = 9, 10, 8
_MASK = bytes(4)  # a mask of noughts leaves the data as it is


class Connection(asyncio.Protocol):
    """One connection; calls back with each data frame's payload.

    Args:
        heard: Called with what comes.
        closed: Called when the other side ends it.
    """

    def __init__(self, heard: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        self._heard = heard
        self._closed = closed
        self._held = b""
        self._open = False
        self._leaving = False
        self.opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The first line of the answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take whole frames; keep the rest until more comes."""
        data = self._held + data if self._held else data
        if not self._open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._held = head
                return
            self._open = True
            if not self.opened.done():
                self.opened.set_result(head.partition(b"\r\n")[0].decode("latin-1"))
        start, whole = 0, len(data)
        while whole - start >= 2:
            length, begin = data[start + 1], start + 2
            if length == 126:
                length, begin = int.from_bytes(data[begin : begin + 2]), begin + 2
            elif length == 127:
                length, begin = int.from_bytes(data[begin : begin + 8]), begin + 8
            if begin + length > whole:
                break
            self._frame(data[start] & 15, data[begin : begin + length])
            start = begin + length
        self._held = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if not self.opened.done():
            self.opened.set_result("closed")
        if not self._leaving:
            self._closed()

    def send(self, payload: bytes, opcode: int = 1) -> None:
        """Send one frame."""
        size = len(payload)
        length = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + size.to_bytes(2)
        self._transport.write(bytes([128 | opcode]) + length + _MASK + payload)

    def leave(self) -> None:
        """Close it."""
        self._leaving = True
        self._transport.abort()

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.send(payload, _PONG)
        elif opcode not in (_PONG, _CLOSE):
            self._heard(payload)


async def open_socket(
    url: str, headers: Mapping[str, str], heard: Callable[[bytes], None], closed: Callable[[], None], seconds: float = 30.0
) -> Connection:
    """Connect.

    Raises:
        OSError: The other side does not want to, or does not answer in time.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        _, connection = await loop.create_connection(lambda: Connection(heard, closed), parts.hostname, parts.port)
        fields = {
            "Host": parts.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()], "", ""]
        connection._transport.write("\r\n".join(lines).encode())
        answer = await connection.opened
    if " 101" not in answer:
        connection.leave()
        raise OSError(answer)
    return connection
