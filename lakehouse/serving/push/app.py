"""The push service: ``/live/<feed>`` is a WebSocket, ``/health`` says whether the process is alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import orjson
import psycopg
from fastapi import FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.websockets import WebSocketState
from pydantic import ValidationError

from lakehouse.clients import postgres_dsn
from lakehouse.errors import AccessDeniedError, SourceError, TidemillError
from lakehouse.livetables import LiveSpec
from lakehouse.serving.push.access import PROTOCOL, Access, offered_token
from lakehouse.serving.push.feed import Feed
from lakehouse.serving.push.filters import FilterError
from lakehouse.serving.push.guests import Guests, no_such
from lakehouse.serving.push.subscriber import DroppedError, Request, Subscriber
from lakehouse.settings import Settings
from lakehouse.storage.hot import ORIGIN, declared

log = logging.getLogger(__name__)

_FIRST_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_POLICY, _TRY_AGAIN = 1008, 1013  # closing codes of RFC 6455


def make_app(settings: Settings, tables: Mapping[str, LiveSpec], access: Access, guests: Guests) -> FastAPI:
    """Return the service; it follows its feeds while it runs.

    Args:
        settings: Where the servers are.
        tables: The live tables, by feed.
        access: Who may connect and see all.
        guests: Lets in who comes with a token of their own.
    """
    feeds: dict[str, Feed] = {}
    columns: dict[str, dict[str, str]] = {}

    @asynccontextmanager
    async def following(app: FastAPI) -> AsyncIterator[None]:
        feeds.update({name: Feed(settings, spec) for name, spec in tables.items()})
        for feed in feeds.values():
            feed.start()
        looking = asyncio.ensure_future(_look(guests))
        yield
        looking.cancel()
        for feed in feeds.values():
            await asyncio.to_thread(feed.stop)
        await asyncio.to_thread(guests.close)

    app = FastAPI(title="Tidemill push", lifespan=following, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.websocket("/live/{feed}")
    async def live(socket: WebSocket, feed: str) -> None:
        """Let a client in, read what it wants, and send until it leaves."""
        offered = socket.scope.get("subprotocols", [])
        token = offered_token(socket.headers, offered)
        user = None
        if not access.welcomes(socket.headers.get("origin")):
            raise WebSocketException(_POLICY)  # before the handshake: it is answered with 403
        if not access.admits(token):
            try:
                user = await asyncio.to_thread(guests.admit, token or "")
            except TidemillError as error:
                raise WebSocketException(_POLICY) from error
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        guest = None
        try:
            if user is None and feed not in feeds:  # a guest is told of those that they may see alone
                raise FilterError(no_such(feed, feeds))
            async with asyncio.timeout(_FIRST_SECONDS):
                text = await socket.receive_text()
            request = Request.model_validate(orjson.loads(text))
            if user is not None:
                types = await known(feed) if feed in feeds else {}
                if feed in feeds and not types:
                    raise SourceError("What columns there are cannot be looked up now; try again in a moment.")
                guest = await asyncio.to_thread(guests.seat, user, feed, types, request.purpose, request.columns)
            shown = guest.shown if guest else None
            subscriber = Subscriber(feeds[feed], request, socket.send_text, settings.push.stall_seconds, shown)
            if shown is not None:
                subscriber.check(shown.columns)
            elif found := await known(feed, subscriber.columns):
                subscriber.check(found)
        except (WebSocketDisconnect, TimeoutError, KeyError, ValueError, FilterError, AccessDeniedError) as error:
            await _close(socket, _POLICY, _sentence(error))
            if guest is not None:
                await asyncio.to_thread(guests.leave, guest, 0)
            return
        except TidemillError as error:
            await _close(socket, _TRY_AGAIN, str(error))
            return
        try:
            await _serve(socket, subscriber, None if guest is None else partial(guests.is_welcome, guest))
        finally:
            if guest is not None:
                await asyncio.to_thread(guests.leave, guest, subscriber.rows)

    async def known(feed: str, wanted: Collection[str] = ()) -> dict[str, str]:
        """Return the columns of a live table, asked for anew only for a name that is not known; none when nobody can say now."""
        if feed not in columns or not set(wanted) <= columns[feed].keys():
            columns[feed] = await asyncio.to_thread(_columns, settings, feed)
        return columns[feed]

    return app


async def _serve(socket: WebSocket, subscriber: Subscriber, is_welcome: Callable[[], bool] | None) -> None:
    """Send until the client leaves, is dropped, or may not see it any more."""
    tasks = [asyncio.ensure_future(subscriber.run()), asyncio.ensure_future(_until_gone(socket))]
    if is_welcome is not None:
        tasks.append(asyncio.ensure_future(_until_unwelcome(is_welcome)))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    except DroppedError as error:
        log.info("A client of %s is dropped: %s", socket.url.path, error)
        await _close(socket, _TRY_AGAIN, str(error))
    except (WebSocketDisconnect, RuntimeError):  # it left while something was on its way
        log.debug("A client of %s left", socket.url.path)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_gone(socket: WebSocket) -> None:
    """Read what a client says, which is nothing, until it leaves."""
    while socket.client_state is not WebSocketState.DISCONNECTED:
        await socket.receive()


async def _until_unwelcome(is_welcome: Callable[[], bool]) -> None:
    """Look, once a second, whether somebody may still see what they see."""
    while is_welcome():
        await asyncio.sleep(_LOOK_SECONDS)
    raise DroppedError("The policy changed, or your token is worth nothing any more: connect again.")


async def _look(guests: Guests) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(guests.look)


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


def _columns(settings: Settings, feed: str) -> dict[str, str]:
    """Return the columns of a live table, name → type of PostgreSQL; empty when nobody can say now."""
    try:
        with psycopg.connect(postgres_dsn(settings), connect_timeout=2, autocommit=True) as connection:
            found = declared(connection, feed)
    except (psycopg.Error, TidemillError):
        return {}
    return {} if found is None else {**found, **ORIGIN}
