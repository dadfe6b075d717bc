"""The Live page: rows of a live table as they happen, pushed to the browser."""

from __future__ import annotations

from typing import Any

from apps.frame import Section, frame, keep_fresh
from apps.live.shade import shade
from lakehouse.serving.operations import TidemillError, Workspace, live_files
from lakehouse.serving.push.endpoint import Endpoint
from widgets.flow import Flow

_TICKET_SECONDS = 20.0  # a ticket lets in for a minute


def page(workspace: Workspace) -> Any:
    """Return the page of one visitor."""
    feed = _feed(workspace)
    flow = Flow(feed=feed)

    def show(endpoint: Endpoint) -> None:
        flow.param.update(url=endpoint.url, ticket=endpoint.ticket, trouble="")

    def fail(error: TidemillError) -> None:
        flow.trouble = str(error)

    keep_fresh(lambda: Endpoint.of(workspace), show, fail, _TICKET_SECONDS)
    return frame("live", workspace, [Section("flow", flow, kind="plain"), shade(workspace, feed)])


def _feed(workspace: Workspace) -> str:
    """Return the live table to show: that of flights, or the first."""
    feeds = live_files(workspace)
    return "flights" if "flights" in feeds else next(iter(feeds), "")
