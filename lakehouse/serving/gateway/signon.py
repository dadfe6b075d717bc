"""Sign-on for the workspace's own users: OpenID Connect's authorization code flow with PKCE, and passwords for programs.

Looked at Authlib, whose server side is for Flask and Django.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader
from pydantic import ValidationError

from lakehouse.errors import AuthenticationError
from lakehouse.security.issuer import AuthorizationRequest, LocalIssuer
from lakehouse.serving.gateway.caller import Known
from lakehouse.serving.gateway.gateway import Gateway

WRONG_SECONDS = 0.5
"""Until one who guesses may guess again on the same connection."""

_TEMPLATE = Environment(loader=PackageLoader(__package__), autoescape=True).get_template("signon.html")


def router(issuer: LocalIssuer, gateway: Gateway) -> APIRouter:
    """Return what lets users of the workspace sign in, and everybody see the keys.

    Args:
        issuer: Signs.
        gateway: Puts on record who signed in.
    """
    routes = APIRouter(tags=["sign-on"])

    @routes.get("/.well-known/openid-configuration")
    async def configuration() -> dict[str, Any]:
        """Describe the provider."""
        return issuer.configuration()

    @routes.get("/keys")
    async def keys() -> dict[str, Any]:
        """Return the keys of its signatures."""
        return issuer.keys()

    @routes.get("/authorize", response_class=HTMLResponse)
    async def authorize(request: Request) -> Response:
        """Ask somebody whom an application sends for name and password."""
        given = dict(request.query_params)
        if not issuer.may_return_to(given.get("redirect_uri", "")):
            return _page(400, "", "The application that sent you here is not known, so nothing is asked of you.")
        try:
            asked = AuthorizationRequest.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            kind = "unsupported_response_type" if first["loc"] == ("response_type",) else "invalid_request"
            said = {"error": kind, "error_description": f"{first['loc'][0]}: {first['msg']}", "state": given.get("state", "")}
            return _back(given["redirect_uri"], said)
        return _page(200, issuer.form(asked), "", asked.redirect_uri)

    @routes.post("/authorize", response_class=HTMLResponse)
    async def sign_in(
        asked: Annotated[str, Form()], username: Annotated[str, Form()], password: Annotated[str, Form()]
    ) -> Response:
        """Send somebody who gave the right password back, with a code."""
        try:
            request = issuer.asked(asked)
        except AuthenticationError as error:
            return _page(400, "", str(error))
        try:
            await asyncio.to_thread(gateway.sign_in, issuer, username, password)
        except AuthenticationError as error:
            await asyncio.sleep(WRONG_SECONDS)
            return _page(401, asked, str(error), request.redirect_uri, username)
        return _back(request.redirect_uri, {"code": issuer.code(username, request), "state": request.state})

    @routes.post("/token")
    async def token(
        response: Response,
        grant_type: Annotated[str, Form()] = "password",
        username: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        code: Annotated[str, Form()] = "",
        client_id: Annotated[str, Form()] = "",
        redirect_uri: Annotated[str, Form()] = "",
        code_verifier: Annotated[str, Form()] = "",
    ) -> dict[str, Any]:
        """Return a token for a name and a password, or tokens for a code."""
        response.headers["Cache-Control"] = "no-store"
        try:
            if grant_type == "authorization_code":
                access, identity = issuer.redeem(code, client_id, redirect_uri, code_verifier)
                return _bearer(access) | {"id_token": identity, "scope": "openid"}
            if grant_type != "password":
                raise AuthenticationError("The grant types are authorization_code and password.")
            return _bearer(await asyncio.to_thread(gateway.sign_in, issuer, username, password))
        except AuthenticationError:
            await asyncio.sleep(WRONG_SECONDS)
            raise

    @routes.get("/userinfo")
    async def userinfo(user: Known) -> dict[str, Any]:
        """Say who a token's user is."""
        return {"sub": user.name, "tenant": user.tenant, "roles": user.roles}

    return routes


def _bearer(token: str) -> dict[str, Any]:
    return {"access_token": token, "token_type": "bearer", "expires_in": 3_600}


def _back(uri: str, said: dict[str, str]) -> Response:
    joint = "&" if urlsplit(uri).query else "?"
    return RedirectResponse(f"{uri}{joint}{urlencode({name: value for name, value in said.items() if value})}", 303)


def _page(status: int, asked: str, trouble: str, redirect_uri: str = "", username: str = "") -> Response:
    """Return the page, which runs nothing and shows nothing from elsewhere."""
    parts = urlsplit(redirect_uri)
    origin = f" {parts.scheme}://{parts.netloc}" if redirect_uri else ""  # browsers look where a form leads in the end
    return HTMLResponse(
        _TEMPLATE.render(asked=asked, trouble=trouble, username=username),
        status,
        {
            "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'{origin}; "
            "frame-ancestors 'none'; base-uri 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        },
    )
