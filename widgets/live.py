"""A piece of HTML that changes in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from widgets.render import look


class Live(JSComponent):
    """Shows HTML; when it is set anew, only the texts and attributes that differ change in the browser.

    So nothing flickers, and what is selected, open or scrolled stays. Moments (see :func:`widgets.render.ago`) count on in the
    browser.
    """

    html = param.String(
        '<p class="empty">Reading …</p>',
        doc="What to show; made by the views of this package, which escape what comes from data.",
    )
    beat = param.Number(0, doc="Changes with each reading; when it stops changing, the page says that it is stale.")

    _esm: ClassVar[Path] = Path(__file__).parent / "live.js"

    def __init__(self, **params: Any) -> None:
        super().__init__(**(look() | params))  # type: ignore[no-untyped-call]
