"""The figures of the benchmark for people: a table, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

LABELS = {
    "tidemill": "Tidemill",
    "plain_spark": "plain PySpark",
    "tuned_spark": "tuned PySpark",
    "python_deltars": "Python, delta-rs",
}


def table(report: dict[str, Any]) -> RenderableType:
    """Return the figures as tables."""
    machine, runs, ratios = report["machine"], report["runs"], report["ratios"]
    cores = machine["cores"]
    speed = _view(
        f"{machine['cpu']}, {cores} cores, {machine['memory_gib']} GiB",
        *("events", "events/s", "per core", "bronze s", "silver s", "gold s", "ratio"),
    )
    cost = _view("", "peak MiB", "CPU s", "files", "MiB", "S3 requests", "start s", "busy %")
    for run in runs:
        ratio, rate = ratios.get(f"to_{run['contender']}"), run["events"] / run["seconds"]
        speed.add_row(
            LABELS[run["contender"]],
            f"{run['events']:,}",
            f"{rate:,.0f}",
            f"{rate / cores:,.0f}",
            *[f"{run['stages'][layer]:.1f}" for layer in ("bronze", "silver", "gold")],
            f"{ratio:.2f}×" if ratio else "",
        )
        cost.add_row(
            LABELS[run["contender"]],
            f"{run['peak_memory_mib']:,.0f}",
            f"{run['cpu_seconds']:,.1f}",
            f"{run['files']:,}",
            f"{run['bytes'] / 2**20:,.1f}",
            f"{sum(run['requests'].values()):,}",
            f"{run['startup_seconds']:.1f}",
            f"{run['busy_before']:.0f}",
        )
    parts: list[RenderableType] = [speed, cost, "ratio: Tidemill's events/s divided by the contender's"]
    for run in runs:
        for name, times in run["small_commits"].items():
            what = f"small commits, {name.replace('_', ' ')}"
            parts.append(f"{what}: p50 {median(times):,.0f} ms, slowest {max(times):,.0f} ms of {len(times)}")
    return Group(*parts)


def _view(title: str, *numbers: str) -> Table:
    view = Table(title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1))
    view.add_column("", no_wrap=True)
    for name in numbers:
        view.add_column(name, justify="right")
    return view


def save(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench-lake.json`` and ``bench-lake.svg``, or those of ``--memory``; returns the files."""
    is_race = any(run["contender"] != "tidemill" for run in report["runs"]) or len(report["runs"]) == 1
    stem = "bench-lake" if is_race else "bench-lake-memory"
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / f"{stem}.json", folder / f"{stem}.svg"
    data.write_text(json.dumps(report, indent=1) + "\n")
    (_race if is_race else _memory)(report).savefig(picture, metadata={"Date": None})
    return [data, picture]


def _race(report: dict[str, Any]) -> Any:
    """Draw the rates as bars, the best one on top."""
    rates = {
        name: median([run["events"] / run["seconds"] for run in report["runs"] if run["contender"] == name])
        for name in {run["contender"] for run in report["runs"]}
    }
    names = sorted(rates, key=rates.__getitem__)
    drawing, axes = new_figure("events/s through bronze, silver and gold")
    bars = axes.barh(
        [LABELS[name] for name in names],
        [rates[name] for name in names],
        color=["#0b7285" if name == "tidemill" else "#adb5bd" for name in names],
    )
    axes.bar_label(bars, [f"{rates[name]:,.0f}" for name in names], padding=4)
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return drawing


def _memory(report: dict[str, Any]) -> Any:
    """Draw peak memory by number of events."""
    runs = report["runs"]
    drawing, axes = new_figure("peak memory, MiB: Python and the JVM")
    bars = axes.barh(
        [f"{run['events']:,} events" for run in runs], [run["peak_memory_mib"] for run in runs], color="#0b7285", height=0.6
    )
    axes.bar_label(bars, [f"{run['peak_memory_mib']:,.0f}" for run in runs], padding=4)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    return drawing


def new_figure(title: str) -> tuple[Any, Any]:
    """Return an empty figure in the style of all benchmarks, and its axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "tidemill"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
