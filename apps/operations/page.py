"""The Operations page: the pipeline, the tables, the account of each feed, quality and servers, kept up to date by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from apps.frame import Section, frame, keep_fresh
from apps.operations import data
from apps.visitor import present, turned_away
from lakehouse.serving.operations import Snapshot, TidemillError, Workspace, operations
from widgets.banner import Alert, banner
from widgets.bars import bars
from widgets.grid import grid
from widgets.live import Live
from widgets.pipeline import pipeline
from widgets.states import state
from widgets.timeline import Timeline

_LIVE = ("banner", "pipeline", "tables", "feeds", "reasons", "undeclared", "quality", "servers")


def page(workspace: Workspace) -> Any:
    """Return the page of one visitor."""
    try:
        who = present(workspace)
    except TidemillError as error:
        return turned_away("operations", workspace, error)
    if who is not None and not who.sees_all:
        return turned_away(
            "operations", workspace, "Operations counts all rows of all tables, so it is for those who may see them."
        )
    source = operations(workspace)
    live = {key: Live() for key in _LIVE}
    rate, lag = Timeline("rows_per_second", "rows/s"), Timeline("lag", "rows")

    def show(snapshot: Snapshot) -> None:
        # Data Docs are served to the operator alone.
        for key, html in views(snapshot if who is None else replace(snapshot, docs=False)).items():
            live[key].html = html
        history = data.local_time(snapshot.history)
        rate.show(history)
        lag.show(history)
        live["banner"].beat = snapshot.read_at

    def fail(error: TidemillError) -> None:
        live["banner"].html = banner(state("unknown"), "The figures cannot be read.", [Alert("bad", "Error", str(error))])

    if source.latest is not None:  # somebody else reads already
        show(source.latest)
    keep_fresh(source.read, show, fail)
    return frame(
        "operations",
        workspace,
        [
            Section("banner", live["banner"], kind="plain"),
            Section("pipeline", live["pipeline"], kind="plain"),
            Section("rate", rate.view, "Rate", "rows read a second, by layer", "half"),
            Section("lag", lag.view, "Lag", "rows waiting, of the table furthest behind", "half"),
            Section("tables", live["tables"], "Tables"),
            Section("feeds", live["feeds"], "Account", "each figure counted on its own"),
            Section("reasons", live["reasons"], "Dead letters by reason", kind="third"),
            Section("undeclared", live["undeclared"], "Undeclared fields", "kept, and counted", "third"),
            Section("quality", live["quality"], "Last validations", kind="third"),
            Section("servers", live["servers"], "Servers"),
        ],
        who,
    )


def views(snapshot: Snapshot) -> dict[str, str]:
    """Return the HTML of each section that is not a chart."""
    status = snapshot.status
    docs = "./data-docs/index.html" if snapshot.docs else ""
    lane, sentence = data.lane(status)
    return {
        "banner": banner(lane, sentence, data.alerts(status)),
        "pipeline": pipeline(data.stages(status), data.branches(status), data.account(status)),
        "tables": grid(data.TABLE_COLUMNS, data.table_rows(status), "No tables are declared."),
        "feeds": grid(data.FEED_COLUMNS, data.feed_rows(status), "No feeds are declared."),
        "reasons": bars(data.reasons(status), "No dead letters.", "dead"),
        "undeclared": bars(data.undeclared(status), "Every field that came is declared."),
        "quality": grid(
            data.QUALITY_COLUMNS, data.quality_rows(status, docs), "Nothing is validated yet; it happens on a cadence."
        ),
        "servers": grid(data.SERVER_COLUMNS, data.server_rows(status)),
    }
