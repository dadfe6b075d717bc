from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from lakehouse.replay import bookings


def test_what_is_made_up_passes(ingest: Callable[..., list[dict[str, Any]]]) -> None:
    rows = ingest("bookings", (x.value for x in bookings.events(datetime(2013, 6, 1), datetime(2013, 7, 1))))
    assert len(rows) > 2_000
    assert not [x for x in rows if x["suspect"] or x["reasons"] or any(x["warnings"] or [])]
