"""What one would write instead: a Panel page whose sessions poll a table."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import panel as pn
import psycopg

from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from .produce import TABLE
from .rows import SHOWN

POLL_MS = 250
SHOWN_ROWS = 20
"""The last rows, as many as a person reads; the push service sends all."""


def main(root: str, port: str) -> None:
    """Serve the page until the process is ended."""
    connection = psycopg.connect(Settings.load(Workspace.load(Path(root))).require("postgres"), autocommit=True)
    query = f"SELECT n, {', '.join(SHOWN)} FROM {TABLE} WHERE n > %s AND shard >= %s AND shard < %s ORDER BY n DESC LIMIT {SHOWN_ROWS}"

    def page() -> pn.viewable.Viewable:
        first, end = (int(pn.state.session_args[name][0]) for name in ("first", "end"))
        pane = pn.pane.HTML("", width=600, height=400)
        last = connection.execute(f"SELECT max(n) FROM {TABLE}").fetchone()[0]

        def poll() -> None:
            nonlocal last
            rows = connection.execute(query, (last, first, end)).fetchall()
            if rows:
                last = rows[0][0]
                lines = [", ".join(f"{name} {value}" for name, value in zip(SHOWN, row[1:], strict=True)) for row in rows]
                pane.object = "<br>".join(lines)

        pn.state.add_periodic_callback(poll, POLL_MS)
        return pane

    logging.getLogger("bokeh").setLevel(logging.WARNING)
    pn.serve({"live": page}, port=int(port), address="127.0.0.1", show=False, websocket_origin="*")


if __name__ == "__main__":
    main(*sys.argv[1:])
