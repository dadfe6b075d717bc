"""Who may connect: whoever has the token or a page's ticket, from a page of this machine or of an origin that is set."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer

from lakehouse.settings import LOOPBACK_NAMES

PROTOCOL = "tidemill.v1"
"""The WebSocket subprotocol; a browser, which cannot set headers, offers ``bearer.<token>`` beside it."""

TICKET_SECONDS = 60
"""How long a ticket lets somebody in; who is in stays."""

_BEARER = "bearer."


class Access:
    """Decides who may connect.

    Args:
        token: The secret.
        origins: Origins of pages that may connect beside those of this machine.
    """

    def __init__(self, token: str, origins: Collection[str] = ()) -> None:
        self._token = token
        self._origins = {origin.rstrip("/") for origin in origins}
        self._tickets = URLSafeTimedSerializer(token, salt="push")

    def ticket(self) -> str:
        """Return what a page may use in place of the token, for a minute."""
        return self._tickets.dumps("live")

    def admits(self, offered: str | None) -> bool:
        """Say whether a token or ticket is good."""
        if not offered:
            return False
        if secrets.compare_digest(offered.encode(), self._token.encode()):
            return True
        try:
            return bool(self._tickets.loads(offered, max_age=TICKET_SECONDS) == "live")
        except BadSignature:
            return False

    def welcomes(self, origin: str | None) -> bool:
        """Say whether a page of this origin may connect; programs send none."""
        if origin is None or origin.rstrip("/") in self._origins:
            return True
        try:
            return urlsplit(origin).hostname in LOOPBACK_NAMES
        except ValueError:
            return False


def offered_token(headers: Mapping[str, str], subprotocols: Collection[str]) -> str | None:
    """Return the token that a client offers: ``Authorization: Bearer …``, or the subprotocol ``bearer.…``."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return next((name.removeprefix(_BEARER) for name in subprotocols if name.startswith(_BEARER)), None)
