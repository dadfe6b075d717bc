"""Run the push service of a workspace, and say where it is."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lakehouse.errors import SettingsError, TidemillError
from lakehouse.livetables import LiveSpec, live_files
from lakehouse.serving.push.access import Access
from lakehouse.serving.push.app import make_app
from lakehouse.settings import Settings
from lakehouse.stack.ports import choose, is_free
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

_ABORT_SECONDS = 5.0


@dataclass(frozen=True)
class Endpoint:
    """Where a workspace's push service is, and what lets a client in.

    Attributes:
        url: ``ws://host:port``; a feed is at ``/live/<feed>``.
        token: The secret.
    """

    url: str
    token: str

    @classmethod
    def of(cls, workspace: Workspace) -> Endpoint:
        """Read where the service of a workspace is.

        Raises:
            SettingsError: It never ran.
        """
        try:
            return cls(**json.loads(_file(workspace).read_text()))
        except FileNotFoundError:
            raise SettingsError("No push service is known: run `tidemill run --lane push`.") from None
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{_file(workspace)} cannot be read ({error}); delete it, and run the service again.") from error

    @property
    def ticket(self) -> str:
        """What a page may use in place of the token, for a minute."""
        return Access(self.token).ticket()


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
        known = _known(workspace)
        push = settings.push
        token = push.token.get_secret_value() if push.token else (known.token if known else secrets.token_urlsafe(32))
        last = int(known.url.rpartition(":")[2]) if known else 0
        if push.port and not is_free(push.port):
            raise TidemillError(f"Port {push.port} is taken; set TIDEMILL_PUSH__PORT to another one.")
        self._port = push.port or (last if last and is_free(last) else choose(set()))
        self.endpoint = Endpoint(f"ws://{push.address}:{self._port}", token)
        write_private(_file(workspace), json.dumps({"url": self.endpoint.url, "token": token}))
        config = uvicorn.Config(
            make_app(settings, tables, Access(token, push.origins)),
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
        )
        self._server = uvicorn.Server(config)

    def stop(self) -> None:
        """Ask :meth:`run` to end; safe from a signal handler or another thread."""
        self._server.should_exit = True

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until :meth:`stop`.

        Args:
            ready: Called when clients can connect.
        """
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with listening:
            listening.bind((self._server.config.host, self._port))
            listening.listen(2048)
            ready()
            self._server.config.load()
            self._server.run(sockets=[listening])


def live_feeds(workspace: Workspace) -> list[str]:
    """Return the names of the feeds that have a live table."""
    return sorted(live_files(workspace))


def _known(workspace: Workspace) -> Endpoint | None:
    return Endpoint.of(workspace) if _file(workspace).exists() else None


def _file(workspace: Workspace) -> Path:
    return workspace.state / "push.json"
