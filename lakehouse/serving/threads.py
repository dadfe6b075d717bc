"""How the threads of a service share the interpreter."""

from __future__ import annotations

import sys

_SECONDS = 0.0005


def take_short_turns() -> None:
    """Let a thread of this process hold the interpreter for half a millisecond while others wait.

    With the usual five, an event loop that has to wait after each call to the system waits longer than it works.
    """
    sys.setswitchinterval(_SECONDS)
