"""Run the gateway of a workspace, in one process or several, and say where it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
from lakehouse.serving.gateway.endpoint import gateway_url, save_url
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
        gateway = settings.gateway
        port = keep(gateway.port, _last_port(workspace), "TIDEMILL_GATEWAY__PORT")
        self.url = f"http://{gateway.address}:{port}"
        if not settings.oidc.issuer:
            LocalIssuer(workspace, self.url, settings.oidc)
        save_url(workspace, self.url)
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
        on_start()
        uvicorn.run("lakehouse.serving.gateway.service:app", factory=True, **self._options)


def app() -> FastAPI:
    """Return the application of one process; called by uvicorn."""
    workspace = Workspace.find()
    settings, url = Settings.load(workspace), gateway_url(workspace)
    issuer = None if settings.oidc.issuer else LocalIssuer(workspace, url, settings.oidc)
    oidc = settings.oidc.model_copy(update={"issuer": settings.oidc.issuer or url})
    control, objects = Control(settings.require("postgres")), Objects(settings)
    objects.ensure_bucket()
    audit = Audit(control, objects)

    @asynccontextmanager
    async def until_closed(_: FastAPI) -> AsyncIterator[None]:
        yield
        audit.close()
        control.close()

    gateway = Gateway(workspace, settings, audit, mask_key(workspace))
    return make_app(gateway, Identity(oidc), settings.gateway, issuer, until_closed)


def _last_port(workspace: Workspace) -> int | None:
    try:
        return int(gateway_url(workspace).rpartition(":")[2])
    except (SettingsError, ValueError):
        return None
