"""Signing in as a person does, sent by an application: with a third party's OAuth client, and as somebody who should not get in."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
import pytest
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from lakehouse.security import issuer as module
from lakehouse.security.issuer import AuthorizationRequest, LocalIssuer
from lakehouse.settings import OidcSettings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

BACK = "http://127.0.0.1:9/back?of=app"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # of RFC 7636, appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def asked(**changes: str | None) -> dict[str, str]:
    """Return what an application asks for."""
    given: dict[str, str | None] = {
        "client_id": "app",
        "redirect_uri": BACK,
        "response_type": "code",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "s&1",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def password(workspace: Workspace, name: str) -> str:
    return str(json.loads((workspace.state / "issuer.json").read_text())["passwords"][name])


def filled(page: httpx.Response, name: str, secret: str) -> dict[str, str]:
    (form,) = re.findall(r'name="asked" value="([^"]+)"', page.text)
    return {"asked": unescape(form), "username": name, "password": secret}


def code(workspace: Workspace, url: str, **changes: str | None) -> str:
    """Sign in as ada; returns the code."""
    page = httpx.get(f"{url}/authorize", params=asked(**changes)).raise_for_status()
    back = httpx.post(f"{url}/authorize", data=filled(page, "ada", password(workspace, "ada")))
    assert back.status_code == 303, back.text
    return parse_qs(urlsplit(back.headers["location"]).query)["code"][0]


def redeem(url: str, found: str, **changes: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "code": found,
        "client_id": "app",
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
    }
    return httpx.post(f"{url}/token", data={**form, **changes})


def test_a_third_partys_client_signs_somebody_in(workspace: Workspace, url: str) -> None:
    known = httpx.get(f"{url}/.well-known/openid-configuration").json()
    verifier, nonce = generate_token(48), generate_token(20)
    session = OAuth2Session("dashboards", redirect_uri=BACK, scope="openid", code_challenge_method="S256")
    session.token_endpoint_auth_method = "none"  # the name of a method
    where, state = session.create_authorization_url(known["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    page = httpx.get(where)
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "form-action 'self' http://127.0.0.1:9;" in page.headers["content-security-policy"]
    back = httpx.post(known["authorization_endpoint"], data=filled(page, "ada", password(workspace, "ada")))
    assert back.headers["location"].startswith(f"{BACK}&code=")
    token = session.fetch_token(
        known["token_endpoint"], authorization_response=back.headers["location"], code_verifier=verifier, state=state
    )
    keys = KeySet.import_key_set(httpx.get(known["jwks_uri"]).json())
    claims = jwt.decode(token["id_token"], keys, algorithms=["Ed25519"]).claims
    assert (claims["iss"], claims["aud"], claims["sub"], claims["nonce"]) == (url, "dashboards", "ada", nonce)
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert httpx.get(known["userinfo_endpoint"], headers=bearer).json() == {
        "sub": "ada",
        "tenant": "united",
        "roles": ["analyst"],
    }
    rows = httpx.post(f"{url}/sql", json={"sql": "SELECT DISTINCT carrier FROM flights"}, headers=bearer).json()["rows"]
    assert rows == [["UA"]]
    # An ID token says who signed in to an application; it is no key to the data.
    identity = {"Authorization": f"Bearer {token['id_token']}"}
    assert httpx.post(f"{url}/sql", json={"sql": "SELECT 1"}, headers=identity).status_code == 401


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/back",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://localhost:9@evil.example/",
        "//127.0.0.1/",
        "javascript:alert(1)//127.0.0.1",
        "http://127.0.0.1/#fragment",
        "http://[::1",
        "",
    ],
)
def test_nobody_is_sent_elsewhere(uri: str, url: str) -> None:
    answer = httpx.get(f"{url}/authorize", params=asked(redirect_uri=uri))
    assert (answer.status_code, "location" in answer.headers, "<form" in answer.text) == (400, False, False)
    assert "is not known" in answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"client_id": ""}, "invalid_request"),
    ],
)
def test_an_application_that_asks_wrongly_is_told(changes: dict[str, str | None], error: str, url: str) -> None:
    answer = httpx.get(f"{url}/authorize", params=asked(**changes))
    said = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (answer.status_code, said["error"], said["state"], said["of"]) == (303, [error], ["s&1"], ["app"])


def test_a_wrong_password_is_asked_for_again(workspace: Workspace, url: str) -> None:
    page = httpx.get(f"{url}/authorize", params=asked())
    for name in ("ada", "eve", '"><script>alert(1)</script>'):
        again = httpx.post(f"{url}/authorize", data=filled(page, name, "wrong"))
        assert (again.status_code, "Name or password is wrong." in again.text, "<script" in again.text) == (401, True, False)
    back = httpx.post(f"{url}/authorize", data=filled(again, "ada", password(workspace, "ada")))
    assert back.status_code == 303
    forged = filled(page, "ada", password(workspace, "ada"))
    for form in (forged["asked"][:-3] + "abc", "x", ""):
        assert httpx.post(f"{url}/authorize", data={**forged, "asked": form}).status_code in (400, 422)


def test_a_code_is_worth_something_once_and_to_its_application_alone(workspace: Workspace, url: str) -> None:
    good = code(workspace, url)
    wrong: list[dict[str, Any]] = [
        {"code_verifier": "x" * 43},
        {"code_verifier": ""},
        {"client_id": "other"},
        {"redirect_uri": "http://127.0.0.1:9/"},
        {"code": good[:-2] + "xx"},
        {"code": ""},
        {"grant_type": "client_credentials"},
    ]
    for changes in wrong:
        assert redeem(url, good, **changes).status_code == 401, changes
    found = redeem(url, good)
    assert (found.status_code, found.headers["cache-control"]) == (200, "no-store")
    again = redeem(url, good)
    assert (again.status_code, again.json()["reason"]) == (401, "The code was used before.")


def test_a_code_is_worth_nothing_after_a_minute(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = LocalIssuer(workspace, OidcSettings(issuer="http://127.0.0.1:1"))
    request = AuthorizationRequest.model_validate(asked())
    found = issuer.code("ada", request)
    monkeypatch.setattr(module, "_CODE_SECONDS", -1)
    with pytest.raises(module.AuthenticationError, match="not valid, or no more"):
        issuer.redeem(found, "app", BACK, VERIFIER)
