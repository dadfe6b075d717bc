from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from lakehouse.catalog import Catalog, Input, Json, Kafka, TableSpec, bronze
from lakehouse.telemetry.history import STEP_SECONDS, history
from lakehouse.telemetry.lag import rows_waiting, waiting_at
from lakehouse.telemetry.lane import LaneStatus
from lakehouse.telemetry.ledger import LATE_SECONDS, Batch, Ledger, Waiting
from lakehouse.telemetry.status import Status, TableStatus

NOW = datetime(2013, 6, 1, 12, tzinfo=UTC)
SILVER = TableSpec("silver", "tides", ("gauge",), {"r": Input("bronze.tides")}, parse=Json("gauge STRING"))
GOLD = TableSpec("gold", "levels", ("gauge",), {"t": Input("silver.tides")})
CATALOG = Catalog([bronze("tides", source=Kafka("tides")), SILVER, GOLD])


def batch(table: str, ago: float, seconds: float, rows: int, *, written: int | None = None, lag: int | None = None) -> Batch:
    finished = NOW.timestamp() - ago
    at = datetime.fromtimestamp(finished, UTC)
    return Batch(table, 0, 0, at, finished, round(seconds * 1000), rows, rows if written is None else written, lag)


def ledger(*batches: Batch, waiting: dict[str, Waiting] | None = None) -> Ledger:
    ordered = sorted(batches, key=lambda one: one.finished)
    return Ledger(NOW, {}, {b.table: b for b in ordered}, ordered, waiting or {}, {}, {}, {}, None)


def status(**lags: int) -> Status:
    tables = {
        spec.full_name: TableStatus(
            layer=spec.layer,
            description="",
            state="running",
            sentence="",
            rows=0,
            version=0,
            rows_per_second=0,
            lag=lags.get(spec.layer),
            last_batch=None,
            pass_rate=None,
            validation=None,
        )
        for spec in CATALOG
    }
    lane = LaneStatus(state="running", sentence="")
    return Status(at=NOW, workspace="t", lane=lane, tables=tables, feeds={}, undeclared_fields={}, servers={}, notes=[])


def column(figures: pd.DataFrame, layer: str, name: str) -> list[float]:
    return figures[figures["layer"] == layer].sort_values("at")[name].tolist()


def test_the_rows_of_a_batch_are_spread_over_the_time_it_took_and_none_is_lost() -> None:
    figures = history(ledger(batch("bronze.tides", 5, 40, 4_000)), status(), CATALOG)
    assert column(figures, "bronze", "rows_per_second")[-6:] == pytest.approx([0, 50, 100, 100, 100, 50])
    long_ago = history(ledger(batch("bronze.tides", 100, 40, 4_000)), status(), CATALOG)
    assert sum(column(long_ago, "bronze", "rows_per_second")) * STEP_SECONDS == pytest.approx(4_000)
    assert max(column(long_ago, "bronze", "rows_per_second")) == pytest.approx(100)


def test_what_waits_for_silver_is_what_bronze_read_before_it_and_ends_at_what_is_counted() -> None:
    found = ledger(batch("bronze.tides", 100, 1, 500), batch("silver.tides", 50, 1, 300))
    lags = column(history(found, status(silver=200), CATALOG), "silver", "lag")
    assert lags[-1] == 200
    assert lags[-8] == 500
    assert lags[0] == 0


def test_bronze_lags_by_what_its_last_batch_left() -> None:
    found = ledger(batch("bronze.tides", 100, 1, 500, lag=70), batch("bronze.tides", 50, 1, 70, lag=0))
    lags = column(history(found, status(), CATALOG), "bronze", "lag")
    assert (lags[0], lags[-8], lags[-1]) == (0, 70, 0)


def test_gold_waits_for_what_silver_wrote_after_its_last_batch_began() -> None:
    upstream = [batch("silver.tides", 100, 1, 500), batch("silver.tides", 50, 1, 300, written=250)]
    own = [batch("gold.levels", 60, 10, 5)]
    moment = NOW.timestamp()
    assert waiting_at(upstream, [], moment) == 750
    assert waiting_at(upstream, own, moment) == 250
    assert waiting_at(upstream, [*own, batch("gold.levels", 10, 5, 5)], moment) == 0
    figures = history(ledger(*upstream, *own), status(), CATALOG)
    assert column(figures, "gold", "lag")[-1] == 250


def test_rows_that_change_nothing_are_not_waited_for_while_the_query_runs() -> None:
    waiting = {"gold.levels": Waiting(all=900, late=40)}
    ran, never = ledger(batch("gold.levels", 60, 10, 5), waiting=waiting), ledger(waiting=waiting)
    assert rows_waiting(GOLD, ran, running=True) == 40
    assert rows_waiting(GOLD, ran, running=False) == 900
    assert rows_waiting(GOLD, never, running=True) == 900
    old = [batch("silver.tides", LATE_SECONDS + 60, 1, 500)]
    assert waiting_at(old, [batch("gold.levels", LATE_SECONDS + 200, 1, 5)], NOW.timestamp()) == 0


def test_without_batches_all_is_still() -> None:
    figures = history(ledger(), status(), CATALOG)
    assert set(figures["layer"]) == {"bronze", "silver", "gold"}
    assert not figures["rows_per_second"].any()
    assert not figures["lag"].any()
    assert figures["at"].max() == pd.Timestamp(NOW.replace(tzinfo=None))
