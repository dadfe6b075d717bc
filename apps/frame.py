"""What all pages share: the header, light and dark, the grid of sections, and how a page keeps itself fresh."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import panel as pn

from apps.pages import titles
from lakehouse.serving.operations import TidemillError, Workspace
from lakehouse.serving.visitors import Visitor

REFRESH_SECONDS = 2.0
_HERE = Path(__file__).parent

T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        key: Its id in the page.
        view: What it shows.
        title: Its heading.
        hint: A few words beside the heading.
        kind: ``plain`` or a ``card`` over the whole width, or a card of a ``half`` or a ``third`` of it; on a phone all are whole.
    """

    key: str
    view: Any
    title: str = ""
    hint: str = ""
    kind: Literal["plain", "card", "half", "third"] = "card"


def frame(name: str, workspace: Workspace, sections: Sequence[Section], who: Visitor | None = None) -> pn.Template:
    """Return a page.

    Args:
        name: Name of its folder.
        workspace: The workspace that it shows.
        sections: What is on it, in order.
        who: Who signed in to see it.
    """
    known = titles(workspace)
    title = known.get(name, name)
    icon = base64.b64encode((_HERE / "icon.svg").read_bytes()).decode()
    page = pn.Template((_HERE / "frame.html").read_text())
    for section in sections:
        page.add_panel(section.key, section.view)
    for variable, value in {
        "name": name,
        "title": title,
        "place": workspace.name,
        "who": who.name if who else "",
        "signs_in": pn.config.oauth_provider is not None,
        "links": [{"name": page_name, "title": text, "href": f"./{page_name}"} for page_name, text in known.items()],
        "icon": f"data:image/svg+xml;base64,{icon}",
        "sections": [{"key": s.key, "title": s.title, "hint": s.hint, "kind": s.kind} for s in sections],
        "style": (_HERE / "frame.css").read_text(),
        "script": (_HERE / "frame.js").read_text(),
    }.items():
        page.add_variable(variable, value)
    return page


def keep_fresh(
    read: Callable[[], T],
    show: Callable[[T], None],
    fail: Callable[[TidemillError], None],
    seconds: float = REFRESH_SECONDS,
) -> None:
    """Read and show now and again, for as long as the page is open.

    Args:
        read: Gets the figures; it runs in a thread, so it may wait.
        show: Puts them on the page.
        fail: Says on the page why there are none.
        seconds: Pause between two readings.
    """
    document = pn.state.curdoc
    assert document is not None  # a page is made for one visitor's document
    busy = False

    async def refresh() -> None:
        nonlocal busy
        if busy:  # the last reading still waits for a server
            return
        busy = True
        try:
            figures = await asyncio.to_thread(read)
        except TidemillError as error:
            document.add_next_tick_callback(partial(change, fail, error))
        else:
            document.add_next_tick_callback(partial(change, show, figures))
        finally:
            busy = False

    def change(put: Callable[[Any], None], what: Any) -> None:
        """Change the page under the document's lock, all in one message."""
        document.hold("combine")
        try:
            put(what)
        finally:
            document.unhold()

    async def begin() -> None:
        pn.state.add_periodic_callback(refresh, period=round(seconds * 1000))  # type: ignore[arg-type]  # it awaits them
        await refresh()

    # Not before the page is loaded: what changes while it loads never reaches it.
    pn.state.onload(begin)
