"""A workspace whose gateway runs, with users who may see different things."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from deltalake import write_deltalake
from doors import FILES, SignIn, flights, gateway
from live_lanes import workspace_of

from lakehouse.clients import delta_rs
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace


@pytest.fixture(scope="package")
def workspace(stack: tuple[Workspace, Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with workspace_of(stack, tmp_path_factory.mktemp("doors"), FILES, []) as workspace:
        settings = Settings.load(workspace)
        Objects(settings).ensure_bucket()
        whole = flights()
        for name, table in {"silver/flights": whole, "silver/secrets": whole, "gold/plans": whole.slice(0, 3)}.items():
            write_deltalake(f"s3://doors/{name}", table, storage_options=delta_rs(settings))
        yield workspace


@pytest.fixture(scope="package")
def url(workspace: Workspace) -> Iterator[str]:
    with gateway(workspace):
        yield Endpoint.of(workspace).url


@pytest.fixture(scope="package")
def sign_in(workspace: Workspace, url: str) -> SignIn:
    def signed_in(name: str) -> httpx.Client:
        passwords = json.loads((workspace.state / "issuer.json").read_text())["passwords"]
        answer = httpx.post(f"{url}/token", data={"username": name, "password": passwords[name]}).raise_for_status()
        token = answer.json()["access_token"]
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    return signed_in
