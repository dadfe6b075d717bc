"""The Live page: rows of a live table as they happen, pushed to the browser."""

from __future__ import annotations

from typing import Any

from apps.frame import Section, frame, keep_fresh
from apps.live.shade import shade
from lakehouse.serving.operations import TidemillError, Workspace, live_names
from lakehouse.serving.push.endpoint import Endpoint
from widgets.flow import Flow
from widgets.tally import Tally

_TICKET_SECONDS = 20.0  # a ticket lets in for a minute


def page(workspace: Workspace) -> Any:
    """Return the page of one visitor."""
    feed, windows = _feeds(workspace)
    flow, tally = Flow(feed=feed), Tally(feed=windows)

    def show(endpoint: Endpoint) -> None:
        flow.param.update(url=endpoint.url, ticket=endpoint.ticket, trouble="")
        tally.param.update(url=endpoint.url, ticket=endpoint.ticket)

    def fail(error: TidemillError) -> None:
        flow.trouble = str(error)

    keep_fresh(lambda: Endpoint.of(workspace), show, fail, _TICKET_SECONDS)
    sections = [Section("flow", flow, kind="plain"), shade(workspace, feed), Section("tally", tally, kind="plain")]
    return frame("live", workspace, sections)


def _feeds(workspace: Workspace) -> tuple[str, str]:
    """Return the live table to show, that of flights, or the first, and its windows; what is not there is empty."""
    names = live_names(workspace)
    feed = "flights" if "flights" in names else next(iter(names), "")
    return feed, f"{feed}_windows" if f"{feed}_windows" in names else ""
