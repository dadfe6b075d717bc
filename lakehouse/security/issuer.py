"""The embedded stack's own identity provider: it knows the users of ``users.yml``, by passwords that were generated for them."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from lakehouse.errors import AuthenticationError, SettingsError
from lakehouse.security.users import User, local_users
from lakehouse.settings import OidcSettings
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

_ALGORITHM = "Ed25519"
_SECONDS = 3_600


class LocalIssuer:
    """Signs tokens for a workspace's own users."""

    def __init__(self, workspace: Workspace, url: str, settings: OidcSettings) -> None:
        """Read the key and the passwords, which are made on first use.

        Args:
            workspace: Whose users.
            url: Where it is: the ``iss`` of its tokens.
            settings: What tokens must say.

        Raises:
            PolicyError: ``users.yml`` is wrong.
            SettingsError: The file of key and passwords is.
        """
        self.url = url
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
        found = {"key": key, "passwords": self.passwords}
        if found != held:
            file.parent.mkdir(exist_ok=True)
            write_private(file, json.dumps(found, indent=2))

    def configuration(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint": f"{self.url}/token",
            "grant_types_supported": ["password"],
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

    def token(self, user: User) -> str:
        """Return a token for a user, for an hour."""
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
        }
        return jwt.encode({"alg": _ALGORITHM, "kid": self._key.kid}, claims, self._key, algorithms=[_ALGORITHM])
