"""From a bearer token to a user: whose signature it carries, whom it is for, and until when.

Tokens are JSON Web Tokens of an OpenID Connect provider. Its keys are those that it publishes; they are kept for a while, and fetched
again when a token names one that is not among them, as happens when the provider changes keys.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from lakehouse.clients import trusting
from lakehouse.errors import AuthenticationError, SettingsError
from lakehouse.security.users import User, Value
from lakehouse.settings import LOOPBACK_NAMES, OidcSettings

_LONGEST = 16_384  # characters of a token
_AGAIN_SECONDS = 10.0  # between two fetches that unknown keys cause: tokens come from anybody
_MOST = 4_096  # tokens whose signature was checked, and need not be again


class Identity:
    """Knows the users of one provider by their tokens; safe to share between threads."""

    def __init__(self, settings: OidcSettings, *, transport: httpx.BaseTransport | None = None) -> None:
        """Trust a provider.

        Args:
            settings: Which one, and what its tokens must say.
            transport: How it is reached, when not by HTTP.

        Raises:
            SettingsError: None is set, or one that is reached without TLS beyond this machine.
        """
        if not settings.issuer:
            raise SettingsError("No identity provider is known: set TIDEMILL_OIDC__ISSUER, or run `tidemill up`.")
        where = urlsplit(settings.issuer)
        if where.scheme != "https" and where.hostname not in LOOPBACK_NAMES:
            raise SettingsError(f"The issuer {settings.issuer} is not reached by https.")
        self._settings = settings
        trust = trusting(settings.ca)
        self._client = httpx.Client(transport=transport, timeout=5.0, follow_redirects=False, verify=trust)
        self._guard = threading.Lock()
        self._keys = KeySet([])
        self._memory = threading.Lock()  # never held for long, as the other is while keys are fetched
        self._checked: OrderedDict[str, tuple[KeySet, dict[str, Any]]] = OrderedDict()
        self._fetched = self._asked = -float("inf")
        self._claims = jwt.JWTClaimsRegistry(
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            sub={"essential": True},
            exp={"essential": True},
        )

    def user(self, token: str) -> User:
        """Return who a token says that they are.

        Args:
            token: The token, without ``Bearer``.

        Raises:
            AuthenticationError: It is not one of this provider's, for this audience, of now; the message does not say more than that.
        """
        if len(token) > _LONGEST:
            raise AuthenticationError("The token is too long.")
        if (known := self.known(token)) is not None:
            return known
        with _refusing():
            return self._valid(self._decoded(token))

    def known(self, token: str) -> User | None:
        """Return who a token says that they are, if its signature was checked before with the keys that still count.

        Raises:
            AuthenticationError: It is valid no more.
        """
        with self._memory:
            keys, claims = self._checked.get(token, (None, {}))
            if keys is not self._keys or time.monotonic() - self._fetched > self._settings.keys_seconds:
                return None
            self._checked.move_to_end(token)
        with _refusing():
            return self._valid(claims)

    def _valid(self, claims: dict[str, Any]) -> User:
        self._claims.validate(claims)
        return self._user(claims)

    def _decoded(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that carries a signature of the provider's."""
        keys = self._current()
        try:
            return self._checked_with(keys, token)
        except (JoseError, ValueError):
            newer = self._current(after=self._fetched)
            if newer is keys:
                raise
            return self._checked_with(newer, token)

    def _checked_with(self, keys: KeySet, token: str) -> dict[str, Any]:
        claims = dict(jwt.decode(token, keys, algorithms=self._settings.algorithms).claims)
        with self._memory:
            self._checked[token] = keys, claims
            while len(self._checked) > _MOST:
                self._checked.popitem(last=False)
        return claims

    def _current(self, after: float | None = None) -> KeySet:
        """Return the provider's keys, fetched anew when they are old, or when those that were fetched at ``after`` do not do."""
        with self._guard:
            now = time.monotonic()
            is_old = now - self._fetched > self._settings.keys_seconds
            if (is_old or (after is not None and after == self._fetched)) and now - self._asked > _AGAIN_SECONDS:
                self._asked = now
                try:
                    self._keys, self._fetched = self._fetch(), now
                except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
                    if not self._keys.keys:
                        raise AuthenticationError("The identity provider does not answer; try again.") from error
            return self._keys

    def _fetch(self) -> KeySet:
        found = discovered(self._client, str(self._settings.issuer))
        keys = self._client.get(str(found["jwks_uri"])).raise_for_status().json()
        # Symmetric ones would make the verifier a signer, and others are not for signatures.
        usable = [key for key in keys["keys"] if key.get("kty") in {"RSA", "EC", "OKP"} and key.get("use", "sig") == "sig"]
        return KeySet.import_key_set({"keys": usable})

    def _user(self, claims: Mapping[str, Any]) -> User:
        settings = self._settings
        tenant, roles = claims.get(settings.tenant_claim), claims.get(settings.roles_claim, [])
        if not isinstance(tenant, str) or not tenant or not isinstance(roles, list):
            raise AuthenticationError(f"The token names no tenant ({settings.tenant_claim}), or its roles are no list.")
        attributes = {name: values for name, value in claims.items() if (values := _values(value))}
        named = tuple(role for role in roles if isinstance(role, str))
        return User(str(claims["sub"]), tenant, named, attributes, until=claims["exp"] + settings.leeway_seconds)


@contextmanager
def _refusing() -> Iterator[None]:
    """Say of whatever is wrong with a token no more than that it is."""
    try:
        yield
    except (JoseError, ValueError, TypeError, KeyError, UnicodeError, RecursionError) as error:
        raise AuthenticationError("The token is not valid here, or no more.") from error


def discovered(client: httpx.Client, issuer: str) -> dict[str, Any]:
    """Return what a provider says of itself.

    Raises:
        httpx.HTTPError: It does not answer.
        ValueError: It is another one, or says nothing that can be read.
        KeyError: It does not say who it is.
    """
    issuer = issuer.rstrip("/")
    found: dict[str, Any] = client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
    if str(found["issuer"]).rstrip("/") != issuer:
        raise ValueError("another issuer answers")
    return found


def _values(claim: Any) -> tuple[Value, ...]:
    """Return the values of a claim that a policy can compare with."""
    found = claim if isinstance(claim, list) else [claim]
    return tuple(x for x in found if isinstance(x, str | int | float | bool))
