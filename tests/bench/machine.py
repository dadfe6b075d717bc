"""The machine that is measured on, and whether it is quiet."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

_QUIET = 15.0  # percent of all cores
_MOMENTS = 3


def describe() -> dict[str, str | int | float]:
    """Return what a reader needs to judge the figures; no names."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def wait_until_quiet(seconds: float) -> float:
    """Wait until the machine does nearly nothing, but no longer than ``seconds``.

    Returns:
        How busy it was at last, in percent of all cores.
    """
    deadline, quiet = time.monotonic() + seconds, 0
    while True:
        busy = psutil.cpu_percent(interval=1.0)
        quiet = quiet + 1 if busy < _QUIET else 0
        if quiet >= _MOMENTS or time.monotonic() > deadline:
            return busy


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
