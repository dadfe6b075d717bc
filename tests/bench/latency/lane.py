"""The fast lane without a sink, in a driver of its own: ``python -m bench.latency.lane WORKSPACE real-time|micro-batch|stand-by``.

The one that stands by is warmed up, says so, and waits for a line.
"""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from pathlib import Path

from lakehouse.catalog import Catalog
from lakehouse.control import Control
from lakehouse.lanes.fast import FastLane
from lakehouse.lanes.fast_session import fast_driver, sized
from lakehouse.livetables import live_tables
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

from ..lines import hear, say


def main(root: str, trigger: str) -> None:
    """Run until SIGTERM."""
    workspace = Workspace.load(Path(root))
    settings, catalog = Settings.load(workspace), Catalog.load(workspace)
    tables = live_tables(workspace, catalog)
    Objects(settings).ensure_bucket()
    spark = fast_driver(workspace, sized(settings, catalog, tables), f"bench {trigger}", f"spark-{trigger}")
    with closing(Control(settings.require("postgres"))) as control:
        lane = FastLane(workspace, settings, catalog, tables, spark, control)
        if trigger == "stand-by":
            lane.warm_up()
            say("ready")
            hear()
        if trigger != "micro-batch":
            signal.signal(signal.SIGTERM, lambda *_: lane.stop())
            if stopped := lane.run():
                sys.exit("\n".join(stopped.values()))
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            (spec,) = tables.values()
            lane.writer(spec, lane.references(spec)).trigger(processingTime="0 seconds").start().awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
