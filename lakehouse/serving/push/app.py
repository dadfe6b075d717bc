"""The push service: ``/live/<feed>`` is a WebSocket, ``/health`` says whether the process is alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import orjson
import psycopg
from fastapi import FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.websockets import WebSocketState
from pydantic import ValidationError

from lakehouse.errors import TidemillError
from lakehouse.livetables import LiveSpec
from lakehouse.serving.push.access import PROTOCOL, Access, offered_token
from lakehouse.serving.push.feed import Feed
from lakehouse.serving.push.filters import FilterError
from lakehouse.serving.push.subscriber import DroppedError, Request, Subscriber
from lakehouse.settings import Settings
from lakehouse.storage.hot import ORIGIN, declared

log = logging.getLogger(__name__)

_FIRST_SECONDS = 10.0
_POLICY, _TRY_AGAIN = 1008, 1013  # closing codes of RFC 6455


def make_app(settings: Settings, tables: Mapping[str, LiveSpec], access: Access) -> FastAPI:
    """Return the service; it follows its feeds while it runs.

    Args:
        settings: Where the servers are.
        tables: The live tables, by feed.
        access: Who may connect.
    """
    feeds: dict[str, Feed] = {}
    columns: dict[str, set[str]] = {}

    @asynccontextmanager
    async def following(app: FastAPI) -> AsyncIterator[None]:
        feeds.update({name: Feed(settings, spec) for name, spec in tables.items()})
        for feed in feeds.values():
            feed.start()
        yield
        for feed in feeds.values():
            await asyncio.to_thread(feed.stop)

    app = FastAPI(title="Tidemill push", lifespan=following, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.websocket("/live/{feed}")
    async def live(socket: WebSocket, feed: str) -> None:
        """Let a client in, read what it wants, and send until it leaves."""
        offered = socket.scope.get("subprotocols", [])
        if not access.welcomes(socket.headers.get("origin")) or not access.admits(offered_token(socket.headers, offered)):
            raise WebSocketException(_POLICY)  # before the handshake: it is answered with 403
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        if feed not in feeds:
            await _close(socket, _POLICY, f"There is no live table {feed[:60]!r}; there are: {', '.join(feeds) or 'none'}.")
            return
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                text = await socket.receive_text()
            request = Request.model_validate(orjson.loads(text))
            subscriber = Subscriber(feeds[feed], request, socket.send_text, settings.push.stall_seconds)
            if not subscriber.columns <= columns.get(feed, set()):  # asked anew only for a name that is not known
                columns[feed] = await asyncio.to_thread(_columns, settings, feed)
            if columns.get(feed):
                subscriber.check(columns[feed])
        except (WebSocketDisconnect, TimeoutError, KeyError, ValueError, FilterError) as error:
            await _close(socket, _POLICY, _sentence(error))
            return
        await _serve(socket, subscriber)

    return app


async def _serve(socket: WebSocket, subscriber: Subscriber) -> None:
    """Send until the client leaves or is dropped."""
    sending = asyncio.ensure_future(subscriber.run())
    leaving = asyncio.ensure_future(_until_gone(socket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    except DroppedError as error:
        log.info("A client of %s is dropped: %s", socket.url.path, error)
        await _close(socket, _TRY_AGAIN, str(error))
    except (WebSocketDisconnect, RuntimeError):  # it left while something was on its way
        log.debug("A client of %s left", socket.url.path)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _until_gone(socket: WebSocket) -> None:
    """Read what a client says, which is nothing, until it leaves."""
    while socket.client_state is not WebSocketState.DISCONNECTED:
        await socket.receive()


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Say why, and close; a client that takes nothing is closed without a word."""
    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(2):
            await socket.send_text(orjson.dumps({"type": "error", "reason": reason}).decode())
            await socket.close(code, reason.encode()[:120].decode(errors="ignore"))


def _sentence(error: Exception) -> str:
    """Return why a first message is refused."""
    if isinstance(error, WebSocketDisconnect | TimeoutError | KeyError):  # nothing came, or bytes
        return "The first message says, as text, what you want."
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."
    return str(error)


def _columns(settings: Settings, feed: str) -> set[str]:
    """Return the columns of a live table; empty when nobody can say now."""
    try:
        with psycopg.connect(settings.require("postgres"), connect_timeout=2, autocommit=True) as connection:
            found = declared(connection, feed)
    except (psycopg.Error, TidemillError):
        return set()
    return set() if found is None else {*found, *ORIGIN}
