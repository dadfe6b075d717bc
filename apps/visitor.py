"""Who has a page open, where pages are served to people who sign in."""

from __future__ import annotations

import panel as pn

from apps.frame import Section, frame
from lakehouse.serving.operations import TidemillError, Workspace
from lakehouse.serving.visitors import Visitor, visitor


def present(workspace: Workspace) -> Visitor | None:
    """Return who has the page open; ``None``: pages are served to whoever reaches them, which is the operator.

    Raises:
        TidemillError: They are not known, or not any more.
    """
    if pn.config.oauth_provider is None:
        return None
    return visitor(workspace, str(pn.state.access_token or ""))


def turned_away(name: str, workspace: Workspace, reason: TidemillError | str) -> pn.Template:
    """Return a page that says why it shows nothing."""
    said = pn.pane.Str(str(reason))  # type: ignore[no-untyped-call]  # Panel has no types here
    return frame(name, workspace, [Section("reason", said, "Not for you")])
