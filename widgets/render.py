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


def look(name: str | None = None) -> dict[str, Any]:
    """Return what all views have of Panel's parameters: their width, and the CSS that they share, and their own behind it.

    Args:
        name: Name of their own stylesheet, without the ending; none when left out.
    """
    sheets = [(_HERE / f"{sheet}.css").read_text() for sheet in ("views", name) if sheet]
    return {"sizing_mode": "stretch_width", "margin": 0, "stylesheets": sheets}


def script(name: str) -> str:
    """Return the JavaScript of a widget of a live table, behind what those share."""
    return "".join((_HERE / f"{file}.js").read_text() for file in ("shared", name))


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
