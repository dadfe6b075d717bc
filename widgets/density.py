"""All events so far: a mask of where they are, coloured by the page, with axes, the mean, and what is under the pointer."""

from __future__ import annotations

from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from widgets.render import look, script


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

    _esm: ClassVar[str] = script("density")

    def __init__(self, **params: Any) -> None:
        super().__init__(**(look("density") | params))  # type: ignore[no-untyped-call]
