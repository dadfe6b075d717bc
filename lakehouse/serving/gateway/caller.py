"""Who asks over HTTP, by their bearer token."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from lakehouse.errors import AuthenticationError
from lakehouse.security.identity import Identity
from lakehouse.security.users import User


async def known(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> User:
    """Return who asks, by their token."""
    if bearer is None:
        raise AuthenticationError("Send a token: Authorization: Bearer …")
    identity: Identity = request.app.state.identity
    user = identity.known(bearer.credentials)
    return user if user is not None else await run_in_threadpool(identity.user, bearer.credentials)


Known = Annotated[User, Depends(known)]
