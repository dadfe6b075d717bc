"""Run the push service of a workspace, and say where it is."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lakehouse.interpreter import prepare_to_serve
from lakehouse.livetables import LiveSpec
from lakehouse.security.authority import Shown
from lakehouse.serving.push.access import Access
from lakehouse.serving.push.app import make_app
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.serving.push.guests import Guests
from lakehouse.settings import Settings
from lakehouse.stack.ports import keep
from lakehouse.workspace import Workspace

_ABORT_SECONDS = 5.0


class Protocol(WebSocketsSansIOProtocol):
    """uvicorn's, but that a connection whose client takes nothing does not stay for ever when it is closed."""

    async def run_asgi(self) -> None:
        """Serve the connection, and cut it soon after."""
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(_ABORT_SECONDS, self.transport.abort)


class PushService:
    """The push service of a workspace; made by the process that runs it."""

    def __init__(self, workspace: Workspace, settings: Settings, tables: Mapping[str, LiveSpec]) -> None:
        """Choose its port and its token, those of last time where there are any, and write them down for clients.

        Raises:
            TidemillError: The port that is set is taken.
        """
        known = Endpoint.last(workspace)
        push = settings.push
        token = push.token.get_secret_value() if push.token else (known.token if known else secrets.token_urlsafe(32))
        last = int(known.url.rpartition(":")[2]) if known else None
        self._port = keep(push.port, last, "TIDEMILL_PUSH__PORT")
        shown = Shown.of(workspace, settings)
        scheme, ca = ("wss", str(shown.ca) if shown.ca else None) if shown else ("ws", None)
        self.endpoint = Endpoint(f"{scheme}://{push.address}:{self._port}", token, ca)
        self.endpoint.save(workspace)
        config = uvicorn.Config(
            make_app(settings, tables, Access(token, push.origins), Guests(workspace, settings)),
            host=push.address,
            port=self._port,
            ws=Protocol,
            ws_max_size=64 * 1024,
            ws_per_message_deflate=False,
            ws_ping_interval=20,
            ws_ping_timeout=20,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=shown.certificate if shown else None,
        )
        self._server = uvicorn.Server(config)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGINT or SIGTERM.

        Args:
            ready: Called when clients can connect.
        """
        prepare_to_serve()
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with listening:
            listening.bind((self._server.config.host, self._port))
            listening.listen(2048)
            ready()
            self._server.run(sockets=[listening])
