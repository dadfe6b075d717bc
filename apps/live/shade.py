"""All events of a live table so far, as one picture."""

from __future__ import annotations

import base64
from typing import Any

from apps.frame import Section, keep_fresh
from lakehouse.serving.density.watch import Picture, watch
from lakehouse.serving.operations import TidemillError, Workspace
from widgets.density import Density

_SECONDS = 1.0  # between two looks at whether there is another picture


def shade(workspace: Workspace, feed: str) -> Section:
    """Return the section that shows it; the picture is drawn once for all visitors, and sent when it is another one.

    Args:
        workspace: The workspace.
        feed: The live table; none: the section says so.
    """
    density = Density(trouble="" if feed else "This workspace declares no live table.")
    shown = 0

    def show(picture: Picture) -> None:
        nonlocal shown
        if picture.version != shown:
            shown = picture.version
            density.param.update(picture=_content(picture), trouble=picture.trouble, warning=picture.warning)

    def fail(error: TidemillError) -> None:
        density.trouble = str(error)

    if feed:
        keep_fresh(lambda: watch(workspace, feed).picture(), show, fail, _SECONDS)
    return Section("shade", density, title="All events so far")


def _content(picture: Picture) -> dict[str, Any]:
    """Return a picture as the widget takes it."""
    if not picture.views:
        return {}
    views = {
        name: {
            "image": "data:image/png;base64," + base64.b64encode(view.image).decode(),
            "start": view.start / 1000,
            "end": view.end / 1000,
            "counts": view.counts,
            "means": view.means,
        }
        for name, view in picture.views.items()
    }
    names = ("column", "low", "high", "events", "unknown", "beyond")
    return {**{name: getattr(picture, name) for name in names}, "since": picture.since / 1000, "views": views}
