"""The figures of the benchmark for people: a table, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from ..lake.report import new_figure
from .contenders import Point
from .run import TOO_OLD_MS, good

LABELS = {"push": "push service", "panel": "Panel, polling"}
_COLOURS = {"push": "#0b7285", "panel": "#868e96"}


def table(report: dict[str, Any]) -> RenderableType:
    """Return one row for each number of clients, and what follows from them."""
    machine = report["machine"]
    view = Table(
        title=f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB", box=box.SIMPLE_HEAD, padding=(0, 1)
    )
    view.add_column("", no_wrap=True)
    for name in ("clients", "p50 ms", "p95 ms", "p99 ms", "rows/s", "messages/s", "lost", "service", "clients", "store", "MiB"):
        view.add_column(name, justify="right", no_wrap=True)
    for point in report["points"]:
        cores = point["cores"]
        view.add_row(
            LABELS[point["contender"]],
            f"{point['clients']:,}",
            *[f"{point[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms")],
            *[f"{point[name] / point['seconds']:,.0f}" for name in ("rows", "messages")],
            f"{point['lost']:,}",
            *[f"{cores[part]:.2f}" for part in ("service", "clients", "kafka" if "kafka" in cores else "postgres")],
            f"{point['service_mib']:,.0f}",
        )
    parts: list[RenderableType] = [view, "service, clients, store: processor time, in cores"]
    for name in report["unbounded"]:
        parts.append(f"{LABELS[name]}: rows came in time with the most clients that were tried, so the knee is farther out")
    return Group(*parts, *[f"{name}: {value:,g}" for name, value in (report["figures"] | report["ratios"]).items()])


def save(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench-push.json`` and ``bench-push.svg``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / "bench-push.json", folder / "bench-push.svg"
    data.write_text(json.dumps(report, indent=1) + "\n")
    drawing, axes = new_figure("age on arrival that 95 % of the rows do not pass, seconds")
    for name, label in LABELS.items():
        points = sorted((Point(**x) for x in report["points"] if x["contender"] == name), key=lambda x: x.clients)
        if not points:
            continue
        axes.plot([x.clients for x in points], [x.p95_ms / 1e3 for x in points], color=_COLOURS[name], marker="o", markersize=4)
        knee = max((x.clients for x in points if good(x)), default=points[0].clients)
        axes.annotate(
            f"{label}: {knee:,} clients",
            (knee, TOO_OLD_MS / 1e3),
            xytext=(-8, -50 if name == "push" else 8),  # below its own line, and clear of the other one
            textcoords="offset points",
            ha="right",
            color=_COLOURS[name],
        )
    axes.axhline(TOO_OLD_MS / 1e3, color="#e8590c", linewidth=1, linestyle="--", zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(left=5)
    axes.set_ylim(0, 2 * TOO_OLD_MS / 1e3)
    axes.set_xlabel("clients")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    drawing.savefig(picture, metadata={"Date": None})
    return [data, picture]
