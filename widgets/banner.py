"""The first line of a page: how things are, whether the figures are fresh, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from widgets.render import render
from widgets.states import State


@dataclass(frozen=True)
class Alert:
    """Something that needs attention.

    Attributes:
        kind: ``bad``, ``warn`` or ``quiet``.
        title: What it is about.
        sentence: What is wrong, and what to do.
    """

    kind: str
    title: str
    sentence: str


def banner(state: State, sentence: str, alerts: Sequence[Alert] = ()) -> str:
    """Return the banner as HTML; the browser itself says how fresh the page is.

    Args:
        state: How things are in general.
        sentence: The same in words.
        alerts: What needs attention, the worst first.
    """
    return render("banner", state=state, sentence=sentence, alerts=alerts)
