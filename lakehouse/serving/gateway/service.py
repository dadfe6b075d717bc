"""Run the gateway of a workspace, in one process or several, and say where it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import psycopg
import uvicorn
from fastapi import FastAPI

from lakehouse.clients import postgres_dsn
from lakehouse.errors import SettingsError
from lakehouse.interpreter import prepare_to_serve
from lakehouse.security.authority import Shown
from lakehouse.security.hotroles import HotRoles
from lakehouse.security.issuer import LocalIssuer
from lakehouse.security.keys import mask_key
from lakehouse.security.policy import Policy
from lakehouse.serving.gateway.app import make_app
from lakehouse.serving.gateway.details import Details
from lakehouse.serving.gateway.door import Door, opened
from lakehouse.serving.gateway.endpoint import Endpoint, trusted
from lakehouse.serving.gateway.flight import FlightServer
from lakehouse.serving.push.endpoint import Endpoint as Push
from lakehouse.settings import Settings
from lakehouse.stack.ports import keep
from lakehouse.workspace import Workspace


class GatewayService:
    """The gateway of a workspace; made by the process that runs it."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        """Choose its port, that of last time where it is free, and write down where it is.

        Raises:
            TidemillError: The port that is set is taken, or the policy or the users are wrong.
        """
        Policy.load(workspace)
        mask_key(workspace)
        gateway, last = settings.gateway, _last_ports(workspace)
        port = keep(gateway.port, last[0], "TIDEMILL_GATEWAY__PORT")
        flight_port = keep(gateway.flight_port, last[1], "TIDEMILL_GATEWAY__FLIGHT_PORT", [port])
        self._shown = Shown.of(workspace, settings)
        http, grpc = ("https", "grpc+tls") if self._shown else ("http", "grpc")
        ca = str(self._shown.ca) if self._shown and self._shown.ca else None
        self.endpoint = Endpoint(f"{http}://{gateway.address}:{port}", f"{grpc}://{gateway.address}:{flight_port}", ca)
        self.endpoint.save(workspace)
        if not settings.oidc.issuer:
            LocalIssuer(workspace, trusted(workspace, settings))
        self._workspace = workspace
        self._settings = settings
        os.environ["TIDEMILL_WORKSPACE"] = str(workspace.root)  # for the processes that answer, which are started anew
        self._options: dict[str, Any] = {
            "host": gateway.address,
            "port": port,
            "workers": gateway.workers,
            "log_level": "warning",
            "timeout_graceful_shutdown": 5,
            "ssl_certfile": self._shown.certificate if self._shown else None,
            "timeout_keep_alive": 75,  # people think longer than the usual five seconds, and a connection may close as they ask
        }

    def run(self, on_start: Callable[[], None]) -> None:
        """Answer until SIGTERM or Ctrl-C."""
        with suppress(psycopg.Error):  # roles of policies that are no more; whoever cannot make any says so when it needs one
            HotRoles(postgres_dsn(self._settings), mask_key(self._workspace)).drop_all()
        prepare_to_serve()
        with opened(self._workspace, self._settings) as door:
            certificate = self._shown.certificate.read_text() if self._shown else None
            server = FlightServer(self.endpoint.flight, door, self._settings.gateway, certificate)
            try:
                on_start()
                if self._options["workers"] == 1:  # in this process, by the same door
                    uvicorn.run(_app(door, self._workspace, self._settings), **self._options)
                else:
                    uvicorn.run("lakehouse.serving.gateway.service:app", factory=True, **self._options)
            finally:
                server.close()


def app() -> FastAPI:
    """Return the application of one process of several; called by uvicorn."""
    prepare_to_serve()
    workspace = Workspace.find()
    settings = Settings.load(workspace)
    held = ExitStack()
    door = held.enter_context(opened(workspace, settings))

    @asynccontextmanager
    async def until_closed(_: FastAPI) -> AsyncIterator[None]:
        with held:
            yield

    return _app(door, workspace, settings, until_closed)


def _app(door: Door, workspace: Workspace, settings: Settings, lifespan: Any = None) -> FastAPI:
    return make_app(door, Details(workspace), settings.gateway, lambda: Push.of(workspace).url, lifespan)


def _last_ports(workspace: Workspace) -> tuple[int | None, int | None]:
    try:
        last = Endpoint.of(workspace)
        return int(last.url.rpartition(":")[2]), int(last.flight.rpartition(":")[2])
    except (SettingsError, ValueError):
        return None, None
