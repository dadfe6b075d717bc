"""The figures of the benchmark for people: tables, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from ..lake.report import new_figure

LINES = {  # contender, who looked → how it is called, and drawn
    ("tidemill", "socket"): ("Tidemill, to a WebSocket client", "#0b7285", "o"),
    ("tidemill", "hot"): ("Tidemill, to PostgreSQL", "#e8590c", "s"),
    ("kafka", "kafka"): ("Tidemill, Kafka → Kafka", "#15aabf", "^"),
    ("flink", "kafka"): ("Flink, Kafka → Kafka", "#862e9c", "D"),
    ("microbatch", "kafka"): ("the same query in micro-batches", "#adb5bd", "v"),
}
_FLOOR = ("bare producer → consumer", "#495057", ".")
_PERCENTILES = {"p50": "p50", "p99": "p99"}


def table(report: dict[str, Any]) -> RenderableType:
    """Return the figures as tables."""
    machine = report["machine"]
    parts: list[RenderableType] = []
    view = Table(
        title=f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB", box=box.SIMPLE_HEAD, padding=(0, 1)
    )
    view.add_column("milliseconds", no_wrap=True)
    for name in ("events/s", "p50", "p95", "p99", "p99.9", "most", "sustained", "missing"):
        view.add_column(name, justify="right")
    for point in report["points"]:
        for where, seen in point["seen"].items():
            found = seen["milliseconds"]
            view.add_row(
                label(point["contender"], where),
                f"{point['rate']:,}",
                *[_short(found[name]) for name in ("p50", "p95", "p99", "p999", "most")],
                "yes" if seen["sustained"] else "no",
                f"{seen['missing']:,}" if seen["missing"] else "",
            )
        view.add_section()
    if report["points"]:
        parts.append(view)
        late = max(point["late_p99_ms"] for point in report["points"])
        parts.append(f"the generator was late by {late:.1f} ms at most (p99 of a point); that is in all ages")
    if report["batches"]:
        parts.append(_batches(report["batches"]))
    return Group(*parts)


def label(contender: str, where: str) -> str:
    """Return how a line of the table is called."""
    if where == "floor":
        return f"  floor beside {contender}"
    known = LINES.get((contender, where))
    return known[0] if known else f"{contender}, to its topic"


def save(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench-latency.json`` and ``bench-latency.svg``, or ``bench-latency-batch.json``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    if not report["points"]:
        data = folder / "bench-latency-batch.json"
        data.write_text(json.dumps(report, indent=1) + "\n")
        return [data]
    data, picture = folder / "bench-latency.json", folder / "bench-latency.svg"
    data.write_text(json.dumps(report, indent=1) + "\n")
    _drawing(report).savefig(picture, metadata={"Date": None})
    return [data, picture]


def _drawing(report: Mapping[str, Any]) -> Any:
    """Draw p50 and p99 by rate, side by side, on logarithmic axes; a hollow mark is a load that was not sustained."""
    drawing, first = new_figure("")
    drawing.set_size_inches(8, 4.4)
    first.remove()
    sides = drawing.subplots(1, len(_PERCENTILES), sharex=True, sharey=True)
    for axes, (what, title) in zip(sides, _PERCENTILES.items(), strict=True):
        axes.set_title(f"{title}: age of a row when it arrives, ms", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        for (name, colour, mark), marks in lines(report, what).items():
            rates = sorted(marks)
            axes.plot(rates, [marks[rate][0] for rate in rates], color=colour, linewidth=1.2)
            axes.plot([], [], mark, linestyle="-", color=colour, markersize=5, linewidth=1.2, label=name)
            for rate in rates:
                value, sustained = marks[rate]
                axes.plot(rate, value, mark, color=colour, markersize=5, markerfacecolor=colour if sustained else "white")
        axes.plot([], [], "o", color="#495057", markersize=5, markerfacecolor="white", label="hollow: not sustained")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(axis="y", color="#e9ecef", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("events/s")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:,g}")
    handles, names = sides[0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return drawing


def lines(report: Mapping[str, Any], what: str) -> dict[tuple[str, str, str], dict[int, tuple[float, bool]]]:
    """Return what is drawn: (name, colour, mark) → rate → (milliseconds, sustained); the worst of several rounds."""
    found: dict[tuple[str, str, str], dict[int, tuple[float, bool]]] = {}
    for point in report["points"]:
        for where, seen in point["seen"].items():
            key = _FLOOR if where == "floor" else LINES.get((point["contender"], where))
            if key is None or (where == "floor" and point["contender"] not in ("tidemill", "kafka")):
                continue
            mark = (seen["milliseconds"][what], seen["sustained"])
            marks = found.setdefault(key, {})
            if point["rate"] not in marks or marks[point["rate"]][0] < mark[0]:
                marks[point["rate"]] = mark
    return {key: found[key] for key in (*LINES.values(), _FLOOR) if key in found}


def _batches(batches: list[Mapping[str, Any]]) -> Table:
    view = Table(title="how long a batch lasts, and what it costs", box=box.SIMPLE_HEAD, padding=(0, 1))
    view.add_column("batch", no_wrap=True)
    for name in (
        "events/s",
        "p99 ms",
        "p99.9 ms",
        "longest pause ms",
        "rows again after a kill",
        "caught up after s",
        "by a spare s",
    ):
        view.add_column(name, justify="right")
    for batch in batches:
        found = batch["milliseconds"]
        view.add_row(
            batch["batch"],
            f"{batch['rate']:,}",
            *[_short(found[name]) for name in ("p99", "p999", "most")],
            f"{batch['repeated']:,}",
            *["not" if batch[name] is None else f"{batch[name]:.1f}" for name in ("caught_up_s", "taken_over_s")],
        )
    return view


def _short(milliseconds: float) -> str:
    return f"{milliseconds:,.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
