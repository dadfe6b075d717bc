"""Serves the pages of a workspace on this machine, from a thread."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import panel as pn
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop
from tornado.web import RedirectHandler
from tornado.websocket import WebSocketClosedError

from apps.pages import Page, load_pages
from lakehouse.serving.density.watch import unwatch
from lakehouse.serving.endpoint import certificate
from lakehouse.serving.operations import ServeError, Workspace, docs_folder
from lakehouse.serving.visitors import Provider

HOME = "operations"
DOCS = "data-docs"
_START_SECONDS = 60


@dataclass(frozen=True)
class Served:
    """Pages that are served until they are stopped.

    Attributes:
        url: Address of the first page.
        port: The port.
    """

    url: str
    port: int
    _loop: IOLoop
    _server: Any
    _thread: threading.Thread
    _workspace: Workspace

    def page(self, name: str) -> str:
        """Return the address of a page."""
        return f"{self.url.rpartition('/')[0]}/{name}"

    def stop(self) -> None:
        """Close all sessions, give the port back, and end what follows live tables for them."""

        def end() -> None:
            self._server.stop()
            self._loop.stop()
            pn.config.oauth_provider = None  # type: ignore[misc]  # Panel keeps it for the whole process, and sets it so

        if self._thread.is_alive():
            self._loop.add_callback(end)
            self._thread.join(10)
        unwatch(self._workspace)


def serve(workspace: Workspace, port: int = 0, address: str = "127.0.0.1", *, sign_in: bool = False) -> Served:
    """Serve all pages, and return when they answer.

    Args:
        workspace: Whose pages and figures.
        port: The port; 0: a free one.
        address: Where to listen. Without ``sign_in`` whoever reaches it sees the figures, so it should stay on this machine.
        sign_in: Whether people sign in, at the workspace's identity provider, and see what the policy shows them.

    Raises:
        ServeError: The port is taken, or the provider does not answer.
    """
    provider = Provider.of(workspace) if sign_in else None
    shown = certificate(workspace)
    pages = {name: _bound(page, workspace) for name, page in load_pages(workspace).items()}
    port = _claim(address, port)
    origin = f"{'https' if shown else 'http'}://{address}:{port}"
    started: list[Served] = []
    failed: list[BaseException] = []
    ready = threading.Event()

    def run() -> None:
        events = asyncio.new_event_loop()
        events.set_exception_handler(_complain)
        asyncio.set_event_loop(events)
        loop = IOLoop.current()
        try:
            server = _server(workspace, pages, origin, loop, provider, shown)
        except BaseException as error:  # handed to the caller
            failed.append(error)
            ready.set()
            return
        started.append(Served(f"{origin}/{HOME}", port, loop, server, thread, workspace))
        loop.add_callback(ready.set)
        loop.start()
        loop.close(all_fds=True)

    thread = threading.Thread(target=run, name="pages", daemon=True)
    thread.start()
    ready.wait(_START_SECONDS)
    if failed:
        raise failed[0]
    return started[0]


def _server(
    workspace: Workspace, pages: dict[str, Any], origin: str, loop: IOLoop, provider: Provider | None, shown: Path | None
) -> Any:
    # That a visitor left while a message was on its way is no news.
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)
    docs = docs_folder(workspace)
    docs.mkdir(parents=True, exist_ok=True)  # so that pages built later are served too
    where = urlsplit(origin)
    server = pn.io.server.get_server(
        pages,
        port=where.port or 0,
        address=where.hostname,
        ssl_certfile=str(shown) if shown else None,
        # A page of another origin must not read the figures through the visitor's browser.
        websocket_origin=[where.netloc, f"localhost:{where.port}"],
        loop=loop,
        # They show values of rows, and are served without asking who is there.
        static_dirs={} if provider else {DOCS: str(docs)},
        extra_patterns=[(r"/", RedirectHandler, {"url": f"/{HOME}", "permanent": False})],
        # Whoever has a page open is seen to leave within seconds.
        check_unused_sessions_milliseconds=5_000,
        unused_session_lifetime_milliseconds=15_000,
        **(_signing_in(provider, origin) if provider else {}),
    )
    server.start()
    return server


def _signing_in(provider: Provider, url: str) -> dict[str, Any]:
    """Return what makes Panel send visitors to a provider: the authorization code flow with PKCE."""
    AsyncHTTPClient.configure(None, defaults={"ca_certs": provider.ca} if provider.ca else {})  # Panel asks for the token with it
    return {
        "oauth_provider": "auth_code",
        "oauth_key": "tidemill-pages",
        "oauth_extra_params": {
            "AUTHORIZE_URL": provider.authorize_url,
            "TOKEN_URL": provider.token_url,
            "scope": ["openid"],
        },
        "oauth_redirect_uri": f"{url}/login",
        "oauth_jwt_user": "sub",
        "cookie_secret": secrets.token_hex(32),  # who is signed in signs in again after a restart, without a word
    }


def _complain(events: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), WebSocketClosedError):  # a visitor left while a message was on its way
        events.default_exception_handler(context)


def _bound(page: Page, workspace: Workspace) -> Callable[[], Any]:
    return lambda: page(workspace)  # Panel takes functions, and no partial ones


def _claim(address: str, port: int) -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ServeError(f"Port {port} at {address} cannot be used ({error.strerror}); choose another one.") from error
        chosen: int = probe.getsockname()[1]
        return chosen
