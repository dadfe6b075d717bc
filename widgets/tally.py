"""The last windows of a live table in the browser, which gets them from the push service itself."""

from __future__ import annotations

from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from widgets.render import look, script


class Tally(JSComponent):
    """Shows the last window of each span and group, with how fresh they are; nothing where a live table has no windows."""

    url = param.String("", doc="Where the push service is: `ws://host:port`.")
    feed = param.String("", doc="Name of the windows: `<feed>_windows`; empty when there are none.")
    ticket = param.String("", doc="What lets the browser in; it is set anew before it grows old.")

    _esm: ClassVar[str] = script("tally")

    def __init__(self, **params: Any) -> None:
        super().__init__(**(look("tally") | params))  # type: ignore[no-untyped-call]
