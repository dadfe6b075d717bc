"""The embedded stack's own identity provider: it knows the users of ``users.yml``, by passwords that were generated for them."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from typing import Any, Literal
from urllib.parse import urlsplit

from cachetools import TTLCache
from itsdangerous import BadData, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from joserfc.util import urlsafe_b64encode
from pydantic import BaseModel, Field, ValidationError

from lakehouse.errors import AuthenticationError, SettingsError
from lakehouse.security.users import User, local_users
from lakehouse.settings import LOOPBACK_NAMES, OidcSettings
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

_ALGORITHM = "Ed25519"
_SECONDS = 3_600
_CODE_SECONDS = 60
_FORM_SECONDS = 600


class AuthorizationRequest(BaseModel):
    """What an application asks for when it sends somebody here to sign in (RFC 6749, 4.1.1, with RFC 7636)."""

    client_id: str = Field(min_length=1, max_length=200)
    redirect_uri: str = Field(max_length=2_000)
    response_type: Literal["code"]
    code_challenge: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$")
    code_challenge_method: Literal["S256"]
    state: str = Field("", max_length=4_000)
    nonce: str = Field("", max_length=500)


class LocalIssuer:
    """Signs tokens for a workspace's own users."""

    def __init__(self, workspace: Workspace, settings: OidcSettings) -> None:
        """Read the key and the passwords, which are made on first use.

        Args:
            workspace: Whose users.
            settings: What tokens must say; their issuer is this one.

        Raises:
            PolicyError: ``users.yml`` is wrong.
            SettingsError: The file of key and passwords is.
        """
        self.url = str(settings.issuer)
        self._settings = settings
        self._users = local_users(workspace)
        file = workspace.state / "issuer.json"
        try:
            held = json.loads(file.read_text()) if file.exists() else {}
            key = held.get("key") or OKPKey.generate_key("Ed25519", {"kid": secrets.token_hex(8), "use": "sig"}).as_dict(
                private=True
            )
            self._key = OKPKey.import_key(key)
            self.passwords = {name: held.get("passwords", {}).get(name) or secrets.token_urlsafe(12) for name in self._users}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SettingsError(f"{file} cannot be read ({error}); delete it, and users get other passwords.") from error
        # Processes that share the key take each other's codes; that one is used twice is seen by each for itself.
        secret = hashlib.sha256(f"codes {key['d']}".encode()).hexdigest()
        self._codes, self._forms = (URLSafeTimedSerializer(secret, salt=salt) for salt in ("code", "form"))
        self._used: TTLCache[str, bool] = TTLCache(10_000, 2 * _CODE_SECONDS)
        self._guard = threading.Lock()
        found = {"key": key, "passwords": self.passwords}
        if found != held:
            file.parent.mkdir(exist_ok=True)
            write_private(file, json.dumps(found, indent=2))

    def configuration(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid"],
            "grant_types_supported": ["authorization_code", "password"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
        }

    def keys(self) -> dict[str, Any]:
        """Return the public keys."""
        return dict(KeySet([self._key]).as_dict(private=False))

    def login(self, name: str, password: str) -> str:
        """Return a token for an hour.

        Raises:
            AuthenticationError: The password is not that user's, or there is no such user.
        """
        expected = self.passwords.get(name, "")
        if not secrets.compare_digest(password.encode(), expected.encode()) or name not in self._users:
            raise AuthenticationError("Name or password is wrong.")
        return self.token(self._users[name])

    def may_return_to(self, uri: str) -> bool:
        """Say whether people may be sent to an address: one of this machine, or one that is set, to the letter."""
        try:
            parts = urlsplit(uri)
            here = parts.scheme in ("http", "https") and parts.hostname in LOOPBACK_NAMES and not parts.fragment
            return here or uri in self._settings.redirects
        except ValueError:
            return False

    def form(self, asked: AuthorizationRequest) -> str:
        """Return what a sign-in form holds of what was asked for, signed."""
        return self._forms.dumps(asked.model_dump())

    def asked(self, form: str) -> AuthorizationRequest:
        """Return what was asked for.

        Raises:
            AuthenticationError: The form is not one of :meth:`form`, or is older than ten minutes.
        """
        try:
            return AuthorizationRequest.model_validate(self._forms.loads(form, max_age=_FORM_SECONDS))
        except (BadData, ValidationError) as error:
            raise AuthenticationError("This page is too old: go back to the application, and sign in again.") from error

    def code(self, name: str, asked: AuthorizationRequest) -> str:
        """Return what an application may change for tokens of a user who has signed in, once and within a minute."""
        return self._codes.dumps({"name": name, "id": secrets.token_hex(8), **asked.model_dump()})

    def redeem(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> tuple[str, str]:
        """Return an access token and an ID token for a code.

        Raises:
            AuthenticationError: It is not one, is too old, was used, is another application's, or its verifier is wrong.
        """
        try:
            held = self._codes.loads(code, max_age=_CODE_SECONDS)
        except BadData as error:
            raise AuthenticationError("The code is not valid, or no more.") from error
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode()
        fits = (held["client_id"], held["redirect_uri"]) == (client_id, redirect_uri)
        if not fits or not secrets.compare_digest(challenge, held["code_challenge"]) or held["name"] not in self._users:
            raise AuthenticationError("The code is not for this application.")
        with self._guard:
            if held["id"] in self._used:
                raise AuthenticationError("The code was used before.")
            self._used[held["id"]] = True
        user = self._users[held["name"]]
        named = {"aud": client_id} | ({"nonce": held["nonce"]} if held["nonce"] else {})
        return self.token(user), self.token(user, **named)

    def token(self, user: User, **claims_of_its_own: str) -> str:
        """Return a token for a user, for an hour; an access token, but for claims of its own."""
        now = int(time.time())
        claims = {
            **{key: list(values) for key, values in user.attributes.items()},
            "iss": self.url,
            "aud": self._settings.audience,
            "sub": user.name,
            "iat": now,
            "exp": now + _SECONDS,
            self._settings.tenant_claim: user.tenant,
            self._settings.roles_claim: list(user.roles),
            **claims_of_its_own,
        }
        return jwt.encode({"alg": _ALGORITHM, "kid": self._key.kid}, claims, self._key, algorithms=[_ALGORITHM])
