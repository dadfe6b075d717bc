"""The Live page: rows of a live table as they happen, pushed to the browser."""

from __future__ import annotations

from typing import Any

from apps.frame import Section, frame, keep_fresh
from apps.live.shade import shade
from apps.visitor import present, turned_away
from lakehouse.serving.operations import TidemillError, Workspace, live_names
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.serving.visitors import Visitor
from widgets.flow import Flow
from widgets.tally import Tally

_TICKET_SECONDS = 20.0  # a ticket lets in for a minute


def page(workspace: Workspace) -> Any:
    """Return the page of one visitor."""
    try:
        who = present(workspace)
    except TidemillError as error:
        return turned_away("live", workspace, error)
    feed, windows = _feeds(workspace, who)
    if who is not None and not feed:
        return turned_away("live", workspace, "You may not see any live table.")
    flow, tally = Flow(feed=feed), Tally(feed=windows)

    def show(endpoint: Endpoint) -> None:
        ticket = endpoint.ticket if who is None else who.token
        flow.param.update(url=endpoint.url, ticket=ticket, trouble="")
        tally.param.update(url=endpoint.url, ticket=ticket)

    def fail(error: TidemillError) -> None:
        flow.trouble = str(error)

    keep_fresh(lambda: Endpoint.of(workspace), show, fail, _TICKET_SECONDS)
    sections = [Section("flow", flow, kind="plain")]
    if who is None or who.sees_whole(f"live.{feed}"):  # the picture is one for all, of all rows
        sections.append(shade(workspace, feed))
    return frame("live", workspace, [*sections, Section("tally", tally, kind="plain")], who)


def _feeds(workspace: Workspace, who: Visitor | None) -> tuple[str, str]:
    """Return the live table to show, that of flights, or the first, and its windows; what is not there for them is empty."""
    names = [name for name in live_names(workspace) if who is None or f"live.{name}" in who.views]
    feed = "flights" if "flights" in names else next(iter(names), "")
    return feed, f"{feed}_windows" if f"{feed}_windows" in names else ""
