"""The parts of ``tidemill bench latency`` do what the figures rest on. Nothing is measured here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live_lanes import workspace_of

from lakehouse.catalog import Kafka
from lakehouse.settings import Settings
from lakehouse.sources.kafka import ensure_topic
from lakehouse.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    from bench.latency import batch, figures, hot, measure, report, run, schedule, watch
    from bench.latency.contenders import _contender

    parts = {"batch": batch, "figures": figures, "hot": hot, "measure": measure, "report": report, "run": run}
    return SimpleNamespace(**parts, schedule=schedule, watch=watch, contender=_contender)


@pytest.mark.parametrize("rate", [100, 1_000, 10_000, 60_000])
def test_the_load_is_known_beforehand(bench: Any, rate: int) -> None:
    plan = bench.schedule.Schedule(1_700_000_000_000_000, rate, 2.0)
    moments = plan.sent_us()
    assert len(moments) == 2 * rate
    assert (np.diff(moments) > 0).all()
    assert moments[0] == plan.start_us
    assert plan.stop_us - 1_000_000 // min(rate, 1_000) <= moments[-1] < plan.stop_us
    payloads = [(due, value) for due, values in plan.ticks() for value in values]
    assert [bench.watch.moment(value) for _, value in payloads] == moments.tolist()
    assert all(0 <= sent - due < 1_000 for (due, _), sent in zip(payloads, moments.tolist(), strict=True))
    good = plan.good_us()
    assert len(moments) - len(good) == len(moments) // bench.schedule.BAD_EVERY
    known = dict(zip(moments.tolist(), (value for _, value in payloads), strict=True))
    assert all(json.loads(known[sent])["quantity"] > 0 for sent in good[:2_000].tolist())


def test_percentiles_are_over_all_that_was_sent(bench: Any) -> None:
    sent = np.arange(1_000, dtype=np.int64) * 1_000 + 10**15
    seen = np.column_stack([sent, sent + 2_000])
    of = bench.figures.ages
    right = of(sent, seen, sent[-1] + 5_000)
    assert right.milliseconds == {"p50": 2.0, "p95": 2.0, "p99": 2.0, "p999": 2.0, "most": 2.0}
    assert (right.sustained, right.missing, right.repeated) == (True, 0, 0)
    assert sum(right.histogram.values()) == 1_000
    again = np.concatenate([seen, np.add(seen[:10], [0, 50_000]), [[1, 2]]])
    assert (of(sent, again, sent[-1]).repeated, of(sent, again, sent[-1]).milliseconds["most"]) == (10, 2.0)
    lost = of(sent, seen[20:], int(sent[-1]) + 5_000_000)  # the first twenty never came: as old as can be said
    assert (lost.missing, lost.sustained) == (20, False)
    assert lost.milliseconds["p50"] == 2.0
    assert lost.milliseconds["p99"] > 5_000


def test_a_pause_is_no_backlog_and_a_backlog_is_one(bench: Any) -> None:
    sent = np.arange(60_000, dtype=np.int64) * 1_000 + 10**15
    growth = bench.figures.backlog_growth
    assert growth(sent, sent + 3_000) == 0
    late = np.maximum(sent, sent[30_000] + 800_000 * (sent >= sent[30_000]) * (sent < sent[30_800]))
    assert growth(sent, np.sort(late)) <= 0.25
    slow = 10**15 + (sent - 10**15) * 11 // 10  # a tenth too slow: three seconds in the half minute between the quarters
    assert growth(sent, slow) == pytest.approx(3 / 1.1 * 0.9, abs=0.6)
    assert not bench.figures.ages(sent, np.column_stack([sent, slow]), int(slow[-1])).sustained


def test_figures_and_tables_name_only_what_was_measured(bench: Any) -> None:
    def ages(ms: float, sustained: bool) -> dict[str, Any]:
        return {"milliseconds": dict.fromkeys(("p50", "p95", "p99", "p999", "most"), ms), "sustained": sustained, "missing": 0}

    base = {"late_p99_ms": 0.1}
    points = [
        {**base, "contender": "tidemill", "rate": rate, "seen": {"floor": ages(1, True), "socket": ages(4, True), "hot": hot}}
        for rate, hot in ((1_000, ages(8, True)), (10_000, ages(9, True)), (20_000, ages(900, False)))
    ]
    figures, ratios = bench.run.summary(points)
    assert figures == {
        "socket_p50_ms_at_1k": 4,
        "socket_p99_ms_at_10k": 4,
        "socket_p999_ms_at_10k": 4,
        "hot_p99_ms_at_10k": 9,
        "floor_p50_ms_at_1k": 1,
        "hot_sustained_events_per_s": 10_000,
    }
    assert ratios == {"p50_to_floor": 4}
    drawn = bench.report.lines({"points": points}, "p99")
    assert [name for name, *_ in drawn] == [
        "Tidemill, to a WebSocket client",
        "Tidemill, to PostgreSQL",
        "bare producer → consumer",
    ]
    assert [marks[20_000] for marks in drawn.values()] == [(4, True), (900, False), (1, True)]


def test_caught_up_is_when_a_row_is_fresh_again(bench: Any) -> None:
    seen = np.array([[9_990_000, 10_000_000], [10_100_000, 15_000_000], [16_000_000, 16_100_000], [17_000_000, 17_001_000]])
    assert bench.batch.caught_up(seen, 10.0) == pytest.approx(6.1)
    assert bench.batch.caught_up(seen[:2], 10.0) is None


@pytest.mark.integration
@pytest.mark.timeout(400)
def test_the_floor_and_a_contender_that_does_nothing(bench: Any, stack: tuple[Workspace, Settings], tmp_path: Path) -> None:
    files = {"tidemill.toml": '[workspace]\nname = "load"\n'}
    source, live = bench.contender.SOURCE, bench.contender.LIVE
    with workspace_of(stack, tmp_path, files, [source, live]) as workspace:
        for topic in (source, live):
            ensure_topic(stack[1], Kafka(topic, partitions=bench.measure.PARTITIONS))
        # Its output is its input, so it is looked at to the end: past the bad ones, which are not expected.
        copy = bench.contender.Contender((), topic=source)
        point = bench.measure.measure(workspace, "copy", copy, 2_000, 3.0, meanwhile=lambda: None)
        assert point.sent == 6_000
        assert [(seen.rows, seen.missing, seen.repeated) for seen in point.seen.values()] == [(6_000, 0, 0), (5_994, 0, 0)]
        assert all(0 < seen.milliseconds["p50"] <= seen.milliseconds["most"] for seen in point.seen.values())
        idle = bench.measure.measure(workspace, "idle", bench.contender.Contender(()), 100, 2.0, patience=1.0)
        assert idle.seen["floor"].missing == 0
        assert (idle.seen["kafka"].missing, idle.seen["kafka"].sustained) == (200, False)
        assert idle.seen["kafka"].milliseconds["p50"] >= 1_000
