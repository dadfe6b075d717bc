"""How a service uses its interpreter."""

from __future__ import annotations

import gc
import sys

_TURN_SECONDS = 0.0005


def prepare_to_serve() -> None:
    """Keep the threads of this process from waiting for each other, and for the garbage collector; called once its modules are loaded.

    A thread holds the interpreter for half a millisecond while others wait: with the usual five, an event loop that has to wait
    after each call to the system waits longer than it works. What is there now, modules above all, is left out of each later search
    for garbage: some 150,000 objects that never go, and looking at them stops everything for 40 ms of a core.
    """
    sys.setswitchinterval(_TURN_SECONDS)
    gc.collect()
    gc.freeze()
