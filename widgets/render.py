"""HTML of the views: Jinja templates in ``templates/``, with everything escaped that comes from data."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from widgets import format as figures

_HERE = Path(__file__).parent


def render(template: str, **data: Any) -> str:
    """Return the HTML of one template.

    Args:
        template: Its name below ``templates/``, without the ending.
        **data: What it shows.
    """
    return _environment().get_template(f"{template}.html").render(**data).strip()


def stylesheet() -> str:
    """Return the CSS that all views share."""
    return (_HERE / "views.css").read_text()


def ago(at: datetime | None) -> Markup:
    """Return a moment that the browser shows as ``8 s ago`` and counts on by itself."""
    if at is None:
        return Markup("{}").format(figures.DASH)
    at = at.astimezone(UTC)
    return Markup('<time data-at="{:.0f}" datetime="{}"></time>').format(at.timestamp(), at.isoformat(timespec="seconds"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": figures.number,
        "compact": figures.compact,
        "rate": figures.rate,
        "share": figures.share,
        "duration": figures.duration,
        "ago": ago,
    }
    return environment
