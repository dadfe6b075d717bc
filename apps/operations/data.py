"""What the Operations page shows, from one reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import pandas as pd

from lakehouse.serving.operations import Status, TableStatus
from widgets.banner import Alert
from widgets.bars import Bar
from widgets.format import compact, duration, number, rate, share
from widgets.grid import Cell, Column, Row
from widgets.pipeline import Branch, Figure, Part, Stage
from widgets.states import State, state

LAYERS = ("bronze", "silver", "gold")
TABLE_COLUMNS = (
    Column("Table"),
    Column("State"),
    Column("Rows", True, "Rows of the newest version"),
    Column("Rows/s", True, "Read over the last minute, or over the last batches where one takes longer"),
    Column("Lag", True, "Records or rows that its inputs have, and it has not read yet"),
    Column("Last batch", True, "When it ended, and how long it took"),
    Column("Passed", True, "Share of the judged records that are no dead letters"),
)
FEED_COLUMNS = (
    Column("Feed"),
    Column("Read", True, "Rows of bronze"),
    Column("Silver", True, "Rows of the feed's silver table"),
    Column("Dead letters", True, "Records that broke a rule, kept with their reasons"),
    Column("Duplicates", True, "Records whose key is in silver already"),
    Column("In flight", True, "Records in Kafka behind the last one that was judged"),
)
SERVER_COLUMNS = (Column("Server"), Column("State"), Column("Address"), Column("Process", True))
QUALITY_COLUMNS = (Column("Table"), Column("Expectations"), Column("When", True))

_NAMES = {"kafka": "Kafka", "s3": "Object store (S3)", "postgres": "PostgreSQL", "valkey": "Valkey"}


def lane(status: Status) -> tuple[State, str]:
    """Return how the lane is."""
    shown = {"running": "running", "stopped": "down"}.get(status.lane.state, "unknown")
    return state(shown), status.lane.sentence


def alerts(status: Status) -> list[Alert]:
    """Return what needs attention, the worst first."""
    found = [
        Alert("bad" if table.state == "stopped" else "warn", f"{name} {state(table.state).word.lower()}", table.sentence)
        for name, table in status.tables.items()
        if table.state in ("stopped", "paused")
    ]
    found += [Alert("warn", "Not all is known", note) for note in status.notes]
    return sorted(found, key=lambda alert: ("bad", "warn").index(alert.kind))


def stages(status: Status) -> list[Stage]:
    """Return the stages of the pipeline strip."""
    in_flight = _sum(feed.in_flight for feed in status.feeds.values())
    read = _sum(feed.read for feed in status.feeds.values())
    behind = _sum(table.lag for table in _of(status, "bronze"))
    held = None if read is None or behind is None else read + behind
    server = state(status.servers["kafka"].state)
    kafka = Stage(
        "kafka",
        "Kafka",
        compact(held),
        "records",
        [Figure("Feeds", number(len(status.feeds))), Figure("In flight", number(in_flight))],
        [(server, 1)],
    )
    return [kafka, *(_stage(status, layer) for layer in LAYERS)]


def branches(status: Status) -> list[Branch]:
    """Return what leaves the way at silver."""
    feeds = list(status.feeds.values())
    dead, twice = _sum(feed.dead_letters for feed in feeds), _sum(feed.duplicates for feed in feeds)
    judged = _sum([_sum(feed.silver for feed in feeds), dead, twice])

    def of_judged(count: int | None) -> str:
        return f"{share(count / judged)} of the judged records" if judged and count is not None else "of the judged records"

    return [
        Branch("dead", "Dead letters", compact(dead), of_judged(dead)),
        Branch("duplicates", "Duplicates", compact(twice), of_judged(twice)),
    ]


def account(status: Status) -> list[Part]:
    """Return where the records of all feeds are."""
    feeds = list(status.feeds.values())
    return [
        Part("silver", "Silver", _sum(feed.silver for feed in feeds)),
        Part("dead", "Dead letters", _sum(feed.dead_letters for feed in feeds)),
        Part("duplicates", "Duplicates", _sum(feed.duplicates for feed in feeds)),
        Part("flight", "In flight", _sum(feed.in_flight for feed in feeds)),
    ]


def table_rows(status: Status) -> list[Row]:
    """Return a row for each table, reference data last."""
    order = (*LAYERS, "reference")
    named = sorted(status.tables.items(), key=lambda item: order.index(item[1].layer))
    return [
        Row(
            [
                Cell(name.partition(".")[2], note=table.description),
                Cell(state=state(table.state)),
                Cell(number(table.rows)),
                Cell(rate(table.rows_per_second)),
                Cell(number(table.lag)),
                _batch(table),
                Cell(share(table.pass_rate)),
            ],
            alarm=table.sentence if table.state in ("stopped", "paused") else "",
            group=table.layer.capitalize(),
        )
        for name, table in named
    ]


def feed_rows(status: Status) -> list[Row]:
    """Return the account of each feed."""
    return [
        Row(
            [
                Cell(name),
                *(Cell(number(count)) for count in (feed.read, feed.silver, feed.dead_letters, feed.duplicates, feed.in_flight)),
            ]
        )
        for name, feed in status.feeds.items()
    ]


def reasons(status: Status) -> list[Bar]:
    """Return the dead letters by reason."""
    return [Bar(reason, count, name) for name, feed in status.feeds.items() for reason, count in feed.reasons.items()]


def undeclared(status: Status) -> list[Bar]:
    """Return the fields that nobody declared."""
    return [Bar(field, count, feed) for feed, fields in status.undeclared_fields.items() for field, count in fields.items()]


def quality_rows(status: Status, docs: str) -> list[Row]:
    """Return the last validation of each table.

    Args:
        status: The status.
        docs: Address of the Data Docs; empty when there are none.
    """
    rows = []
    for name, table in status.tables.items():
        if (found := table.validation) is None:
            continue
        held = f"{found.expectations - found.failed} of {found.expectations} hold"
        shown = State(held, "good", "✓") if found.passed else State(held, "bad", "■")
        rows.append(Row([Cell(name, note=f"version {found.version:,}", link=docs), Cell(state=shown), Cell(at=found.at)]))
    return rows


def server_rows(status: Status) -> list[Row]:
    """Return how the servers are."""
    return [
        Row(
            [
                Cell(_NAMES.get(part, part)),
                Cell(state=state("down" if server.state == "stopped" else server.state)),
                Cell(server.address or "–"),
                Cell(str(server.pid) if server.pid else "–"),
            ]
        )
        for part, server in status.servers.items()
    ]


def local_time(history: pd.DataFrame) -> pd.DataFrame:
    """Return the history with this machine's local time, as the clock of who looks at it says."""
    zone = datetime.now().astimezone().tzinfo
    at = pd.to_datetime(history["at"]).dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    return history.assign(at=at)


def _stage(status: Status, layer: str) -> Stage:
    tables = _of(status, layer)
    lags = [table.lag for table in tables if table.lag is not None]
    batches = [table.last_batch for table in tables if table.last_batch]
    took = max(batches, key=lambda batch: batch.at).duration_ms if batches else None
    count = Counter(table.state for table in tables)
    return Stage(
        layer,
        layer.capitalize(),
        rate(_sum(table.rows_per_second for table in tables)),
        "rows/s",
        [
            Figure("Rows", number(_sum(table.rows for table in tables))),
            Figure("Lag", f"{number(max(lags))} rows" if lags else "–"),
            Figure("Last batch took", duration(took)),
        ],
        [(state(name), n) for name, n in count.most_common()],
    )


def _batch(table: TableStatus) -> Cell:
    batch = table.last_batch
    if batch is None:
        return Cell("–")
    took = "" if table.layer == "reference" else f"took {duration(batch.duration_ms)}"
    return Cell(at=batch.at, note=took)


def _of(status: Status, layer: str) -> list[TableStatus]:
    return [table for table in status.tables.values() if table.layer == layer]


def _sum(values: Iterable[float | None]) -> int | None:
    """Return the sum; ``None`` when a part of it is not known."""
    known = list(values)
    return None if None in known else round(sum(value for value in known if value is not None))
