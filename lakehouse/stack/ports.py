"""Free TCP ports on the loopback address."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Collection

from lakehouse.errors import StackError, TidemillError

LOOPBACK = "127.0.0.1"

# Below the range from which Linux and macOS take ports for outgoing connections, which could occupy the port of a server
# that is down for a moment.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Say whether a server could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT does not count
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def answers(port: int, seconds: float = 1.0) -> bool:
    """Say whether somebody accepts connections on ``port``."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def choose(taken: set[int]) -> int:
    """Return a free port that is not in ``taken``.

    Raises:
        StackError: Hundreds of attempts found none.
    """
    for _ in range(500):
        port = _RANGE.start + secrets.randbelow(len(_RANGE))
        if port not in taken and is_free(port):
            return port
    raise StackError(
        f"No free port was found between {_RANGE.start} and {_RANGE.stop}; stop some of the programs that listen there."
    )


def keep(wanted: int, last: int | None, setting: str, taken: Collection[int] = ()) -> int:
    """Return a service's port: the one that is set, else that of last time where it is free, else another one.

    Args:
        wanted: What is set; 0: nothing.
        last: Where it was last time.
        setting: The environment variable that sets it.
        taken: Ports that another service will listen on.

    Raises:
        TidemillError: The port that is set is taken.
        StackError: No port is free.
    """
    if wanted and (wanted in taken or not is_free(wanted)):
        raise TidemillError(f"Port {wanted} is taken; set {setting} to another one.")
    return wanted or (last if last and last not in taken and is_free(last) else choose({*taken}))
