"""Who asks over HTTP, by their bearer token."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from lakehouse.errors import AuthenticationError
from lakehouse.security.identity import Identity
from lakehouse.security.users import User


def known(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> User:
    """Return who asks, by their token."""
    if bearer is None:
        raise AuthenticationError("Send a token: Authorization: Bearer …")
    identity: Identity = request.app.state.identity
    return identity.user(bearer.credentials)


Known = Annotated[User, Depends(known)]
