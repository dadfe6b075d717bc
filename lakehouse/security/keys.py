"""The secret that keys of masks are made of: a file of the workspace that only its owner can read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from lakehouse.errors import SettingsError
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

_BYTES = 32


def mask_key(workspace: Workspace) -> bytes:
    """Return the workspace's secret, 32 bytes; it is made on first use, once, whoever comes first.

    Raises:
        SettingsError: The file is not what was written.
    """
    file = workspace.state / "mask.key"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        made = file.with_name(f"mask.{secrets.token_hex(8)}")
        write_private(made, secrets.token_hex(_BYTES))
        with suppress(FileExistsError):
            os.link(made, file)
        made.unlink()
    try:
        key = bytes.fromhex(file.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    if len(key) != _BYTES:
        raise SettingsError(
            f"{file} does not hold {_BYTES} bytes; delete it, and the hashes that masks show are others from then on."
        )
    return key
