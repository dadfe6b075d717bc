"""Durations in words, as declarations have them."""

from __future__ import annotations

import re
from datetime import timedelta

from lakehouse.errors import DeclarationError

_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_DURATION = re.compile(rf"\s*(\d+)\s+({'|'.join(_UNITS)})s?\s*")


def duration(name: str, text: str) -> timedelta:
    """Read ``"90 minutes"`` or ``"2 days"``.

    Args:
        name: Whose it is, for the message.
        text: A number and a unit, from seconds to weeks.

    Raises:
        DeclarationError: It cannot be read, or is nothing.
    """
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise DeclarationError(f"{name}: {text!r} is no duration; write one like '90 minutes' or '2 days'.")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
