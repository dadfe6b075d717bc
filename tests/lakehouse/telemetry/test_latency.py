"""How old rows are at each hop: histograms of several writers, on a real Valkey."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import valkey

from lakehouse.settings import Settings
from lakehouse.sources.live import SENT_AT, sent_us
from lakehouse.telemetry import latency
from lakehouse.telemetry.latency import Stopwatch, latencies
from lakehouse.workspace import Workspace

NOW = 1_764_000_000_000_000
FEED = f"t{uuid.uuid4().hex[:8]}"


class Message:
    """What is asked of one of Kafka's."""

    def __init__(self, headers: list[tuple[str, Any]] | None, timestamp_ms: int) -> None:
        self.headers = lambda: headers
        self.timestamp = lambda: (1, timestamp_ms)


@pytest.fixture
def client(stack: tuple[Workspace, Settings]) -> Iterator[valkey.Valkey]:
    with valkey.Valkey.from_url(stack[1].require("valkey")) as client:
        yield client
        for name in client.scan_iter(f"tidemill:{{{FEED}}}:*"):
            client.delete(name)


@pytest.mark.integration
def test_the_figures_of_all_writers_are_one(client: valkey.Valkey) -> None:
    assert latencies(client, FEED) == {}
    hot, push = Stopwatch(client, FEED, "hot"), Stopwatch(client, FEED, "push")
    hot.record("gate_to_hot", [NOW - ms * 1000 for ms in range(1, 101)], NOW)
    push.record("gate_to_hot", [NOW - ms * 1000 for ms in range(101, 201)], NOW)
    push.record("gate_to_socket", [], NOW)
    hot.publish()
    push.publish()
    seen = latencies(client, FEED)
    assert list(seen) == ["gate_to_hot"]
    ages = seen["gate_to_hot"]
    assert ages.rows == 200
    assert ages.p50_ms == pytest.approx(100, rel=0.02)
    assert ages.p95_ms == pytest.approx(190, rel=0.02)
    assert ages.p99_ms == pytest.approx(198, rel=0.02)
    assert ages.max_ms == pytest.approx(200, rel=0.02)


@pytest.mark.integration
def test_clocks_that_disagree_and_very_old_rows_are_counted(client: valkey.Valkey) -> None:
    watch = Stopwatch(client, FEED, "hot")
    watch.record("producer_to_hot", [NOW + 5_000_000, 0], NOW)
    watch.publish()
    ages = latencies(client, FEED)["producer_to_hot"]
    assert ages.rows == 2
    assert ages.max_ms == pytest.approx(3_600_000, rel=0.02)


@pytest.mark.integration
def test_only_the_last_minute_counts(client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1_000.0
    monkeypatch.setattr(latency.time, "monotonic", lambda: clock)
    watch = Stopwatch(client, FEED, "hot")
    watch.record("gate_to_hot", [NOW - 9_000_000], NOW)
    clock += 30
    watch.record("gate_to_hot", [NOW - 1_000], NOW)
    watch.publish()
    assert latencies(client, FEED)["gate_to_hot"].rows == 2
    clock += 32
    watch.publish()
    ages = latencies(client, FEED)["gate_to_hot"]
    assert (ages.rows, ages.max_ms) == (1, pytest.approx(1, rel=0.02))
    clock += 60
    watch.publish()
    assert latencies(client, FEED) == {}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([("other", b"1"), (SENT_AT, b"1764000000000123")], 1_764_000_000_000_123),
        ([(SENT_AT, b"soon")], NOW),
        ([(SENT_AT, None)], NOW),
        ([(SENT_AT, b"9" * 400)], NOW),
        ([], NOW),
        (None, NOW),
    ],
)
def test_a_producers_word_counts_and_else_the_timestamp(headers: Any, found: int) -> None:
    row = {"_timestamp": datetime.fromtimestamp(NOW / 1e6, UTC)}
    assert sent_us(Message(headers, NOW // 1000), row) == found  # type: ignore[arg-type]


def test_the_feed_clock_of_a_replay_is_no_time_of_sending() -> None:
    row = {"_timestamp": datetime(2013, 1, 1, tzinfo=UTC)}
    assert sent_us(Message(None, NOW // 1000), row) is None  # type: ignore[arg-type]
