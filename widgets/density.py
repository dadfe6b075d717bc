"""All events so far: a mask of where they are, coloured by the page, with axes, the mean, and what is under the pointer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from widgets.render import stylesheet

_HERE = Path(__file__).parent


class Density(JSComponent):
    """Shows a picture that Python has drawn, over time or by hour of the day."""

    picture = param.Dict(
        {},
        doc="""
        ``events``, ``unknown``, ``beyond``: how many; ``since``: milliseconds since 1970; ``column``; ``low`` and ``high`` of its
        axis; ``views``: ``moment`` and ``hour`` → ``image`` (a URL), ``start`` and ``end`` (milliseconds), ``counts`` and
        ``means`` of its columns. Empty: there is none yet.""",
    )
    trouble = param.String("", doc="Why there is no picture, or why it stands still.")
    warning = param.String("", doc="What is missing in it.")

    _esm: ClassVar[Path] = _HERE / "density.js"

    def __init__(self, **params: Any) -> None:
        styles = [stylesheet(), (_HERE / "density.css").read_text()]
        defaults = {"sizing_mode": "stretch_width", "margin": 0, "stylesheets": styles}
        super().__init__(**(defaults | params))  # type: ignore[no-untyped-call]
