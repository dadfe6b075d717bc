"""Rows of a live table in the browser, which gets them from the push service itself."""

from __future__ import annotations

from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from widgets.render import look, script


class Flow(JSComponent):
    """Shows what happens: how much, how fresh, a map where rows have ``latitude`` and ``longitude``, and a board of the last ones.

    The browser connects by itself, again after each break, and goes on where it was.
    """

    url = param.String("", doc="Where the push service is: `ws://host:port`.")
    feed = param.String("", doc="Name of the feed.")
    ticket = param.String("", doc="What lets the browser in; it is set anew before it grows old.")
    trouble = param.String("", doc="Why there is nothing to connect to.")

    _esm: ClassVar[str] = script("flow")

    def __init__(self, **params: Any) -> None:
        super().__init__(**(look("flow") | params))  # type: ignore[no-untyped-call]
