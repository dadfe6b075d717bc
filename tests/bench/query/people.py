"""Who asks: managers who see different shops, somebody who watches ticks, an auditor of TPC-H's tables."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2 as httpx

from lakehouse.security.users import FILE
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.workspace import Workspace

TENANTS = 20
MANAGERS = 60
"""Each sees other shops, so there are as many policy views."""

SHOPS = 60
NATIONS = 20
"""Of 25; the auditor sees the customers of these."""


def shops(manager: int) -> list[int]:
    """Return the shops that a manager sees: three, each with two neighbours."""
    return [(manager + step) % SHOPS for step in range(3)]


def declare(workspace: Workspace) -> list[str]:
    """Write ``users.yml``; returns the managers' names."""
    managers = [f"manager{number}" for number in range(MANAGERS)]
    users: dict[str, object] = {
        name: {"tenant": f"tenant{number % TENANTS}", "roles": ["manager"], "attributes": {"shops": shops(number)}}
        for number, name in enumerate(managers)
    }
    users["watcher"] = {"tenant": "watchers", "roles": ["watcher"]}
    users["auditor"] = {"tenant": "auditors", "roles": ["auditor"], "attributes": {"nations": [*range(NATIONS)]}}
    Path(workspace.tables / FILE).write_text(json.dumps({"users": users}))  # which is YAML too
    return managers


def token(workspace: Workspace, name: str) -> str:
    """Sign somebody in."""
    passwords = json.loads((workspace.state / "issuer.json").read_text())["passwords"]
    answer = httpx.post(f"{Endpoint.of(workspace).url}/token", data={"username": name, "password": passwords[name]}, timeout=30)
    return str(answer.raise_for_status().json()["access_token"])
