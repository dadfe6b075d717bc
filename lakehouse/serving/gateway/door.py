"""What every process needs that serves users: what answers them, what knows them, and what signs them in."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from lakehouse.clients import postgres_dsn, valkey_client
from lakehouse.control import Control
from lakehouse.security.audit import Audit
from lakehouse.security.identity import Identity
from lakehouse.security.issuer import LocalIssuer
from lakehouse.security.keyring import Keyring
from lakehouse.security.keys import mask_key
from lakehouse.serving.gateway.cache import Cache
from lakehouse.serving.gateway.endpoint import trusted
from lakehouse.serving.gateway.gateway import Gateway
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace


@dataclass(frozen=True)
class Door:
    """One process's way to the data.

    Attributes:
        gateway: Answers.
        identity: Knows users by their tokens.
        issuer: Signs in the workspace's own users; ``None`` where another provider does.
    """

    gateway: Gateway
    identity: Identity
    issuer: LocalIssuer | None


@contextmanager
def opened(workspace: Workspace, settings: Settings) -> Iterator[Door]:
    """Open the door, with a chain of its own in the audit log.

    Args:
        workspace: Whose tables, policy and users.
        settings: Where the servers are.

    Raises:
        TidemillError: Nobody's tokens count, the policy or the users are wrong, or a server is away.
    """
    oidc = trusted(workspace, settings)
    issuer = None if settings.oidc.issuer else LocalIssuer(workspace, oidc)
    with closing(Control(postgres_dsn(settings))) as control:
        objects = Objects(settings)
        objects.ensure_bucket()
        client = valkey_client(settings, socket_timeout=1, socket_connect_timeout=1)

        @functools.cache
        def keyring() -> Keyring:
            return Keyring(workspace, settings, control)

        with closing(Audit(control, objects)) as audit, client:
            cache = Cache(client, settings.gateway.cache_seconds) if settings.gateway.cache_seconds else None
            gateway = Gateway(workspace, settings, audit, mask_key(workspace), cache, lambda: keyring().reveal)
            with closing(gateway):
                yield Door(gateway, Identity(oidc), issuer)
