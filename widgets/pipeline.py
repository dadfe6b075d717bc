"""The way of the records as a strip: stages from left to right, side branches below, figures in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from widgets.render import render
from widgets.states import State


@dataclass(frozen=True)
class Figure:
    """One figure of a stage: what it is, and what it says."""

    label: str
    value: str


@dataclass(frozen=True)
class Stage:
    """A stage that records go through.

    Attributes:
        key: ``kafka``, ``bronze``, ``silver`` or ``gold``: its place and colour.
        title: What it is called.
        headline: Its main figure.
        unit: Unit of the main figure.
        figures: Further figures.
        states: How its tables are, and how many each.
    """

    key: str
    title: str
    headline: str
    unit: str
    figures: Sequence[Figure]
    states: Sequence[tuple[State, int]] = ()


@dataclass(frozen=True)
class Branch:
    """Where records go that do not go on.

    Attributes:
        key: ``dead`` or ``duplicates``: its place and colour.
        title: What it is called.
        headline: How many records.
        note: What that means.
    """

    key: str
    title: str
    headline: str
    note: str


@dataclass(frozen=True)
class Part:
    """One part of an account.

    Attributes:
        key: Names its colour.
        label: What it is.
        records: How many; ``None``: not known.
    """

    key: str
    label: str
    records: int | None


def pipeline(stages: Sequence[Stage], branches: Sequence[Branch], account: Sequence[Part]) -> str:
    """Return the strip as HTML.

    Args:
        stages: In order.
        branches: What leaves the way at silver.
        account: Where all records are.
    """
    return render("pipeline", stages=stages, branches=branches, parts=account, widths=widths(account))


def widths(parts: Sequence[Part]) -> list[float]:
    """Return the share of each part in per cent, wide enough to be seen when there is anything."""
    total = sum(part.records or 0 for part in parts)
    shares = [100 * (part.records or 0) / total if total else 0.0 for part in parts]
    seen = [max(share, 0.6) if share else 0.0 for share in shares]
    return [round(100 * share / sum(seen), 2) if total else 0.0 for share in seen]
