"""Run the gateway of a workspace, in one process or several, and say where it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from lakehouse.control import Control
from lakehouse.errors import SettingsError
from lakehouse.security.audit import Audit
from lakehouse.security.identity import Identity
from lakehouse.security.issuer import LocalIssuer
from lakehouse.security.keys import mask_key
from lakehouse.security.policy import Policy
from lakehouse.serving.gateway.app import make_app
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.serving.gateway.flight import FlightServer
from lakehouse.serving.gateway.gateway import Gateway
from lakehouse.settings import Settings
from lakehouse.stack.ports import keep
from lakehouse.storage.objects import Objects
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
        flight_port = keep(gateway.flight_port, last[1], "TIDEMILL_GATEWAY__FLIGHT_PORT")
        self.endpoint = Endpoint(f"http://{gateway.address}:{port}", f"grpc://{gateway.address}:{flight_port}")
        if not settings.oidc.issuer:
            LocalIssuer(workspace, self.endpoint.url, settings.oidc)
        self.endpoint.save(workspace)
        self._workspace = workspace
        self._settings = settings
        os.environ["TIDEMILL_WORKSPACE"] = str(workspace.root)  # for the processes that answer, which are started anew
        self._options: dict[str, Any] = {
            "host": gateway.address,
            "port": port,
            "workers": gateway.workers,
            "log_level": "warning",
            "timeout_graceful_shutdown": 5,
        }

    def run(self, on_start: Callable[[], None]) -> None:
        """Answer until SIGTERM or Ctrl-C."""
        with _door(self._workspace, self._settings, self.endpoint) as (gateway, identity, issuer):
            server = FlightServer(self.endpoint.flight, gateway, identity, self._settings.gateway, issuer)
            try:
                on_start()
                uvicorn.run("lakehouse.serving.gateway.service:app", factory=True, **self._options)
            finally:
                server.close()


def app() -> FastAPI:
    """Return the application of one process; called by uvicorn."""
    workspace = Workspace.find()
    settings = Settings.load(workspace)
    open_door = ExitStack()
    gateway, identity, issuer = open_door.enter_context(_door(workspace, settings, Endpoint.of(workspace)))

    @asynccontextmanager
    async def until_closed(_: FastAPI) -> AsyncIterator[None]:
        with open_door:
            yield

    return make_app(gateway, identity, settings.gateway, issuer, until_closed)


@contextmanager
def _door(workspace: Workspace, settings: Settings, endpoint: Endpoint) -> Iterator[tuple[Gateway, Identity, LocalIssuer | None]]:
    """Open what answers, what knows the users, and what signs them in; each process has its own."""
    issuer = None if settings.oidc.issuer else LocalIssuer(workspace, endpoint.url, settings.oidc)
    identity = Identity(settings.oidc.model_copy(update={"issuer": settings.oidc.issuer or endpoint.url}))
    with closing(Control(settings.require("postgres"))) as control:
        objects = Objects(settings)
        objects.ensure_bucket()
        with closing(Audit(control, objects)) as audit:
            yield Gateway(workspace, settings, audit, mask_key(workspace)), identity, issuer


def _last_ports(workspace: Workspace) -> tuple[int | None, int | None]:
    try:
        last = Endpoint.of(workspace)
        return int(last.url.rpartition(":")[2]), int(last.flight.rpartition(":")[2])
    except (SettingsError, ValueError):
        return None, None
