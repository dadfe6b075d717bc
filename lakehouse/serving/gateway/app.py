"""The gateway over HTTP: ``POST /sql``, ``GET /tables``, health and readiness; its OpenAPI page is at ``/docs``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field

from lakehouse.errors import (
    AccessDeniedError,
    AuditError,
    AuthenticationError,
    KeyringError,
    PolicyError,
    QueryFailedError,
    QueryRefusedError,
    QuotaError,
    SettingsError,
    TidemillError,
    UnknownNameError,
)
from lakehouse.livetables import feeds_among
from lakehouse.security.policy import View
from lakehouse.serving.gateway.answers import FORMATS
from lakehouse.serving.gateway.caller import Known
from lakehouse.serving.gateway.details import Detail, Details
from lakehouse.serving.gateway.door import Door
from lakehouse.serving.gateway.gateway import Question
from lakehouse.serving.gateway.signon import router
from lakehouse.serving.gateway.turns import Turns, unless_gone
from lakehouse.serving.sandbox import Cancel
from lakehouse.settings import GatewaySettings

log = logging.getLogger(__name__)

_STATUS: dict[type[TidemillError], int] = {
    AuthenticationError: 401,
    AccessDeniedError: 403,
    UnknownNameError: 404,
    QuotaError: 429,
    QueryRefusedError: 400,
    QueryFailedError: 422,
    PolicyError: 503,
    SettingsError: 503,
    AuditError: 503,
    KeyringError: 503,
}


class SqlRequest(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(description="One SELECT, in DuckDB's dialect, over `layer.table`.")
    parameters: dict[str, Any] | list[Any] | None = Field(None, description="Values of `$name`, or of `?`.")
    format: Literal["json", "csv", "arrow", "parquet"] = "json"
    limit: int = Field(1_000, ge=1, description="Most rows.")
    timeout: float = Field(30.0, gt=0, description="Seconds after which it is given up.")
    purpose: str | None = Field(None, description="What for, where the policy asks.")
    versions: dict[str, int] = Field({}, description="Tables to read at an older version.")


class Shown(Detail):
    """A table as one user may see it."""

    name: str
    role: str = Field(description="The role that gives it.")
    columns: list[str]
    masked: dict[str, str] = Field(description="Column → the kind of its mask.")
    revealed: list[str] = Field(description="Columns that are sealed, and opened for the user.")
    anonymous: bool = Field(description="Whether rows that look like too few others are left out.")
    filtered: bool = Field(description="Whether rows are left out.")
    version: int | None = Field(description="The newest version; null for live tables.")


class Live(BaseModel):
    """Where rows are pushed as they come."""

    url: str = Field(description="`ws://host:port`; a feed is at `/live/{feed}`.")
    feeds: list[str] = Field(description="Those that the user may see something of.")


def make_app(
    door: Door, details: Details, settings: GatewaySettings, push_url: Callable[[], str], lifespan: Any = None
) -> FastAPI:
    """Return the service.

    Args:
        door: What answers, and who knows the users.
        details: What is known of the tables.
        settings: Its bounds.
        push_url: Says where the push service is; raises when it never ran.
        lifespan: What FastAPI enters and leaves.
    """
    gateway = door.gateway
    app = FastAPIOffline(title="Tidemill", description="One door to the data.", redoc_url=None, lifespan=lifespan)
    app.state.identity = door.identity
    turns = Turns(settings.at_once, settings.tenant_at_once, settings.tenant_waiting)
    threads = ThreadPoolExecutor(settings.at_once, thread_name_prefix="sql")

    @app.exception_handler(TidemillError)
    async def say(_: Request, error: Exception) -> JSONResponse:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}.get(status)
        return JSONResponse({"error": type(error).__name__, "reason": str(error)}, status, headers)

    @app.get("/health", tags=["operation"])
    async def health() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "ok"}

    @app.get("/ready", tags=["operation"])
    def ready() -> dict[str, str]:
        """Say whether questions can be answered: the policy can be read."""
        return {"status": "ok", "policy": gateway.policy.version}

    @app.post("/sql", tags=["data"], response_class=Response)
    async def sql(asked: SqlRequest, request: Request, user: Known) -> Response:
        """Answer one SELECT. A client that hangs up cancels its query."""
        question = Question(
            sql=asked.sql,
            parameters=asked.parameters,
            purpose=asked.purpose,
            versions=asked.versions,
            limit=min(asked.limit, settings.max_rows),
            timeout=min(asked.timeout, settings.max_seconds),
        )
        cancel = Cancel()
        media_type, write = FORMATS[asked.format]
        async with turns.turn(user.tenant):
            answering = asyncio.get_running_loop().run_in_executor(threads, lambda: write(gateway.ask(user, question, cancel)))
            body = await unless_gone(request.is_disconnected, cancel, answering)
        return Response(body, media_type=media_type)

    @app.get("/tables", tags=["data"])
    def tables(user: Known, purpose: str | None = None) -> dict[str, list[str]]:
        """List the tables that the user may see something of."""
        return {"tables": list(gateway.views(user, purpose))}

    @app.get("/tables/{name}", tags=["data"])
    def table(name: str, user: Known, purpose: str | None = None) -> Shown:
        """Say what the user sees of a table."""
        view, source = gateway.table(user, name, purpose)
        columns = list(source.columns)
        detail = details.of(name, columns, list(gateway.views(user, purpose)))
        return _shown(view, columns, source.version, detail)

    @app.get("/live", tags=["data"])
    def live(user: Known, purpose: str | None = None) -> Live:
        """Say where live tables are pushed, which takes the same token: ``WS /live/{feed}`` there."""
        return Live(url=push_url(), feeds=feeds_among(gateway.views(user, purpose)))

    if door.issuer is not None:
        app.include_router(router(door.issuer, gateway))
    return app


def _shown(view: View, columns: list[str], version: int | None, detail: Detail) -> Shown:
    return Shown(
        name=view.table,
        role=view.role,
        columns=columns,
        masked={name: view.masks[name.lower()].kind for name in columns if name.lower() in view.masks},
        revealed=[name for name in columns if name.lower() in view.reveal],
        anonymous=view.anonymous is not None,
        filtered=bool(view.rows),
        version=version,
        **detail.model_dump(),
    )
