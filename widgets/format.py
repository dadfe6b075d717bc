"""Figures as people read them: thousands separated, units said, unknown shown as a dash."""

from __future__ import annotations

DASH = "–"


def number(value: float | None) -> str:
    """Return a count: ``1,234,567``."""
    return DASH if value is None else f"{value:,.0f}"


def compact(value: float | None) -> str:
    """Return a count in four characters or so: ``1.23 M``; exact below ten thousand."""
    if value is None:
        return DASH
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:.3g} {unit}" if abs(scaled) < 1000 else f"{scaled:.0f} {unit}"
    return f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return a rate without its unit: whole from ten on, one digit below."""
    if value is None:
        return DASH
    return f"{value:.1f}" if 0 < value < 9.95 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """Return a share of 0–1 in per cent; what is not quite all is never rounded up to ``100 %``."""
    if value is None:
        return DASH
    percent = value * 100
    if 99.99 < percent < 100:
        return "> 99.99 %"
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.2f} %"


def duration(milliseconds: float | None) -> str:
    """Return how long something took: ``430 ms``, ``1.2 s``, ``3 min 20 s``."""
    if milliseconds is None:
        return DASH
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
