"""The workspace of gulls with a gateway and a push service, and users who may see different birds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from doors import gateway
from pushes import pushing

from lakehouse.workspace import Workspace

POLICY = """
roles:
  keeper:
    - {tables: ["*"], columns: "*"}
  watcher:
    - tables: [live.gulls]
      columns: [id, n]
      rows: [{column: id, in: {claim: birds}}]
      masks: {n: {range: 10}}
    - tables: [live.gulls_for_counting]
      columns: "*"
"""
USERS = """
users:
  ada: {tenant: north, roles: [watcher], attributes: {birds: [g1, g2]}}
  ben: {tenant: south, roles: [watcher], attributes: {birds: g3}}
  eve: {tenant: south, roles: [nobody]}
  kim: {tenant: shore, roles: [keeper]}
"""


@pytest.fixture
def coast(gulls: Workspace) -> Iterator[Workspace]:
    """The workspace of gulls, with a gateway and a push service."""
    (gulls.root / "policy.yml").write_text(POLICY)
    (gulls.root / "users.yml").write_text(USERS)
    with gateway(gulls), pushing(gulls):
        yield gulls
