"""Where a workspace's gateway is, and whose tokens count; light to import, for those who only connect to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lakehouse.serving.endpoint import WrittenDown
from lakehouse.settings import OidcSettings, Settings
from lakehouse.workspace import Workspace


@dataclass(frozen=True)
class Endpoint(WrittenDown):
    """Where a workspace's gateway is.

    Attributes:
        url: Over HTTP: ``http://host:port``; ``https://`` with TLS.
        flight: Over Arrow Flight SQL: ``grpc://host:port``; ``grpc+tls://`` with TLS.
        ca: PEM file of the authority of its certificate; ``None``: one that the system knows, or no TLS.
    """

    FILE = "gateway.json"
    UNKNOWN = "No gateway is known: run `tidemill run --lane gateway`."

    url: str
    flight: str
    ca: str | None = None


def trusted(workspace: Workspace, settings: Settings) -> OidcSettings:
    """Return whose tokens count: those of the provider that is set, or else of the gateway itself.

    Raises:
        SettingsError: None is set, and no gateway ran.
    """
    oidc = settings.oidc
    if oidc.issuer:
        return oidc
    here = Endpoint.of(workspace)
    return oidc.model_copy(update={"issuer": here.url, "ca": Path(here.ca) if here.ca else None})
