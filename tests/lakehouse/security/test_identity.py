"""Tokens of a real provider, and tokens that only look like its."""

from __future__ import annotations

import base64
import hmac
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from lakehouse.errors import AuthenticationError, SettingsError
from lakehouse.security import identity as module
from lakehouse.security.identity import Identity
from lakehouse.security.users import User
from lakehouse.settings import OidcSettings

ISSUER = "https://id.example.org"


class Provider:
    """A provider's two documents, and how often each was asked for."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSAKey.generate_key(2048, {"kid": "a", "use": "sig"}), ECKey.generate_key("P-256", {"kid": "b"})]
        self.keys += [OKPKey.generate_key("Ed25519", {"kid": "c"})]
        self.issuer = ISSUER
        self.asked = 0
        self.is_away = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("refused")
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"})
        self.asked += 1
        return httpx.Response(200, json=KeySet(self.keys).as_dict(private=False))

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        key = key or self.keys[0]
        algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519", "oct": "HS256"}[key.key_type]
        claims = {
            "iss": ISSUER,
            "aud": "tidemill",
            "sub": "ada",
            "exp": int(time.time()) + 600,
            "tenant": "united",
            "roles": ["analyst"],
            "carriers": ["UA"],
        }
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        head = {"alg": algorithm, "kid": key.kid, **(header or {})}
        return jwt.encode(head, claims, key, algorithms=["RS256", "ES256", "Ed25519", "HS256"])


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def identity(provider: Provider) -> Identity:
    return Identity(OidcSettings(issuer=ISSUER), transport=httpx.MockTransport(provider))


def test_a_token_says_who_somebody_is(identity: Identity, provider: Provider) -> None:
    for key in provider.keys:
        user = identity.user(provider.token(key))
        assert (user.name, user.tenant, user.roles) == ("ada", "united", ("analyst",))
        assert user.attributes["carriers"] == ("UA",)
    assert identity.user(provider.token(aud=["other", "tidemill"])).name == "ada"
    assert identity.user(provider.token(exp=int(time.time()) - 5)).name == "ada"  # within the leeway
    assert provider.asked == 1


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def unsigned(token: str, **header: Any) -> str:
    return f"{encoded(json.dumps({'alg': 'none', **header}).encode())}.{token.split('.')[1]}."


def signed_with(secret: bytes, token: str, **header: Any) -> str:
    text = unsigned(token, **header).rstrip(".")
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def test_what_only_looks_like_a_token_is_refused(identity: Identity, provider: Provider) -> None:
    good = provider.token()
    stranger = RSAKey.generate_key(2048, {"kid": "a"})
    public = provider.keys[0].as_pem(private=False)
    now = int(time.time())
    forged = {
        "another key under the same name": provider.token(stranger),
        "none": unsigned(good),
        "None": unsigned(good, alg="None", kid="a"),
        "the public key as a secret": signed_with(public, good, alg="HS256", kid="a"),
        "a key that it brings itself": provider.token(stranger, header={"jwk": stranger.as_dict(private=False)}),
        "a key from elsewhere": provider.token(stranger, header={"jku": "https://evil.example.org/keys"}),
        "an unknown critical header": good.replace(good.split(".")[0], unsigned(good, crit=["x"], x=1).split(".")[0]),
        "expired": provider.token(exp=now - 600),
        "never expires": provider.token(exp=None),
        "not yet": provider.token(nbf=now + 600),
        "another audience": provider.token(aud="other"),
        "no audience": provider.token(aud=None),
        "another issuer": provider.token(iss="https://id.example.com"),
        "no subject": provider.token(sub=None),
        "no tenant": provider.token(tenant=None),
        "a tenant that is no text": provider.token(tenant=["united"]),
        "roles that are no list": provider.token(roles="admin"),
        "changed claims": ".".join([good.split(".")[0], provider.token(roles=["admin"]).split(".")[1], good.split(".")[2]]),
        "cut": good[:-4],
        "no signature": good.rpartition(".")[0] + ".",
        "two parts": good.rpartition(".")[0],
        "empty": "",
        "not base64": "é.è.à",
        "long": "a" * 20_000,
        "encrypted, it says": "a.b.c.d.e",
    }
    for what, token in forged.items():
        with pytest.raises(AuthenticationError):
            identity.user(token)
            raise AssertionError(what)
    assert identity.user(good).name == "ada"


def test_keys_that_are_changed_are_fetched_once_and_not_for_each_stranger(
    identity: Identity, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = provider.token()
    assert identity.user(old).name == "ada"
    provider.keys = [RSAKey.generate_key(2048, {"kid": "new"})]
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.0)
    assert identity.user(provider.token()).name == "ada"
    assert provider.asked == 2
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 60.0)
    for _ in range(5):
        with pytest.raises(AuthenticationError):
            identity.user(old)  # its key is not there any more
    assert provider.asked == 2


def test_a_signature_that_was_checked_counts_until_the_token_or_the_keys_change(
    identity: Identity, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, forged = provider.token(), provider.token(RSAKey.generate_key(2048, {"kid": "a"}))
    assert identity.known(token) is None
    with pytest.raises(AuthenticationError):
        identity.user(forged)
    assert identity.user(token) == identity.known(token)
    assert [identity.known(x) for x in (forged, f"{token}x", token[:-1])] == [None] * 3
    with monkeypatch.context() as later:
        moment = time.time() + 700
        later.setattr(time, "time", lambda: moment)
        with pytest.raises(AuthenticationError, match="no more"):
            identity.known(token)
    with monkeypatch.context() as later:  # its keys are to be fetched again
        moment = time.monotonic() + 10_000
        later.setattr(time, "monotonic", lambda: moment)
        assert identity.known(token) is None
    for claims in ({"exp": "soon"}, {"exp": [1]}, {"tenant": 5}, {"roles": "all"}):  # of the provider's, and of no use
        odd = provider.token(**claims)
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                identity.user(odd)
    provider.keys = [RSAKey.generate_key(2048, {"kid": "new"})]
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.0)
    assert identity.user(provider.token()).name == "ada"
    assert identity.known(token) is None
    monkeypatch.setattr(module, "_MOST", 2)
    tokens = [provider.token(exp=int(time.time()) + 100 + n) for n in range(3)]
    for some in tokens:
        identity.user(some)
    assert [identity.known(some) is None for some in tokens] == [True, False, False]


def test_a_provider_that_is_away_or_another_lets_nobody_new_in(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.0)
    identity = Identity(OidcSettings(issuer=ISSUER, keys_seconds=0.001), transport=httpx.MockTransport(provider))
    provider.is_away = True
    with pytest.raises(AuthenticationError, match="does not answer"):
        identity.user(provider.token())
    provider.is_away, provider.issuer = False, "https://id.example.com"
    with pytest.raises(AuthenticationError, match="does not answer"):
        identity.user(provider.token())
    provider.issuer = ISSUER
    assert identity.user(provider.token()).name == "ada"
    provider.is_away = True
    assert identity.user(provider.token()).name == "ada"  # by the keys that it had


def test_a_secret_that_a_provider_publishes_is_no_key(provider: Provider) -> None:
    shared = OctKey.generate_key(256, {"kid": "s"})
    provider.keys.append(shared)
    identity = Identity(OidcSettings(issuer=ISSUER, algorithms=["RS256", "HS256"]), transport=httpx.MockTransport(provider))
    with pytest.raises(AuthenticationError):
        identity.user(provider.token(shared))


def test_a_provider_beyond_this_machine_is_reached_by_https() -> None:
    with pytest.raises(SettingsError, match="not reached by https"):
        Identity(OidcSettings(issuer="http://id.example.org"))
    with pytest.raises(SettingsError, match="TIDEMILL_OIDC__ISSUER"):
        Identity(OidcSettings())


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    """A provider in a process of its own."""
    command = [sys.executable, "-u", "-m", "oidc_provider_mock", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        address = next(found for line in process.stdout if (found := re.search(r"http://(localhost|127\.0\.0\.1):\d+", line)))
        yield address[0]
        process.kill()


def test_a_token_of_a_real_provider(real: str) -> None:
    claims = {"tenant": "united", "roles": ["analyst"], "carriers": ["UA"]}
    with httpx.Client(base_url=real) as client:
        client.put("/users/ada", json=claims).raise_for_status()
        query = {"client_id": "tidemill", "redirect_uri": "http://127.0.0.1/back", "response_type": "code", "scope": "openid"}
        answer = client.post("/oauth2/authorize", params=query, data={"sub": "ada"})
        code = httpx.URL(answer.headers["location"]).params["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": query["redirect_uri"]}
        token = client.post("/oauth2/token", data=form, auth=("tidemill", "secret")).raise_for_status().json()["id_token"]
    user = Identity(OidcSettings(issuer=real)).user(token)
    assert isinstance(user, User)
    assert (user.name, user.tenant, user.roles, user.attributes["carriers"]) == ("ada", "united", ("analyst",), ("UA",))
    with pytest.raises(AuthenticationError):
        Identity(OidcSettings(issuer=real, audience="another")).user(token)
