"""The secret that keys of masks are made of: a file of the workspace that only its owner can read."""

from __future__ import annotations

import secrets

from lakehouse.errors import SettingsError
from lakehouse.stack.state import write_private_once
from lakehouse.workspace import Workspace

_BYTES = 32


def mask_key(workspace: Workspace) -> bytes:
    """Return the workspace's secret, 32 bytes; it is made on first use, once, whoever comes first.

    Raises:
        SettingsError: The file is not what was written.
    """
    file = workspace.state / "mask.key"
    if not file.exists():
        write_private_once(file, secrets.token_hex(_BYTES))
    try:
        key = bytes.fromhex(file.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    if len(key) != _BYTES:
        raise SettingsError(
            f"{file} does not hold {_BYTES} bytes; delete it, and the hashes that masks show are others from then on."
        )
    return key
