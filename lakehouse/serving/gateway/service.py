"""Run the gateway of a workspace, in one process or several, and say where it is."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from lakehouse.control import Control
from lakehouse.errors import SettingsError, TidemillError
from lakehouse.security.audit import Audit
from lakehouse.security.identity import Identity
from lakehouse.security.issuer import LocalIssuer
from lakehouse.security.keys import mask_key
from lakehouse.security.policy import Policy
from lakehouse.serving.gateway.app import make_app
from lakehouse.serving.gateway.gateway import Gateway
from lakehouse.settings import Settings
from lakehouse.stack.ports import choose, is_free
from lakehouse.stack.state import write_private
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

_ROOT, _URL = "TIDEMILL_GATEWAY_ROOT", "TIDEMILL_GATEWAY_URL"


def gateway_url(workspace: Workspace) -> str:
    """Return where the gateway of a workspace is.

    Raises:
        SettingsError: It never ran.
    """
    try:
        return str(json.loads(_file(workspace).read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError("No gateway is known: run `tidemill run --lane gateway`.") from error


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
        if gateway.port and not is_free(gateway.port):
            raise TidemillError(f"Port {gateway.port} is taken; set TIDEMILL_GATEWAY__PORT to another one.")
        last = _last_port(workspace)
        port = gateway.port or (last if last and is_free(last) else choose(set()))
        self.url = f"http://{gateway.address}:{port}"
        if not settings.oidc.issuer:
            LocalIssuer(workspace, self.url, settings.oidc)
        write_private(_file(workspace), json.dumps({"url": self.url}))
        os.environ |= {_ROOT: str(workspace.root), _URL: self.url}  # the processes that answer are started anew
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
    workspace = Workspace.load(Path(os.environ[_ROOT]))
    settings, url = Settings.load(workspace), os.environ[_URL]
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


def _file(workspace: Workspace) -> Path:
    return workspace.state / "gateway.json"


def _last_port(workspace: Workspace) -> int | None:
    try:
        return int(gateway_url(workspace).rpartition(":")[2])
    except (SettingsError, ValueError):
        return None
