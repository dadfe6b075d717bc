"""The figures of the benchmark for people: a table, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from ..lake.report import new_figure
from .run import TABLES

_COLOURS = ("#adb5bd", "#15aabf", "#0b7285")


def table(report: dict[str, Any]) -> Table:
    """Return one row for each part of the time."""
    view = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    layers = [name.partition(".")[0] for name in TABLES]
    names = ["minutes", *[f"{layer} ms" for layer in layers], *[f"{layer} files" for layer in layers], "stored", "MiB"]
    for name in names:
        view.add_column(name, justify="right")
    for window in report["windows"]:
        view.add_row(
            f"{window['minutes']:.0f}",
            *[f"{window['commit_ms'][name]:,.0f}" for name in TABLES],
            *[f"{window['live_files'][name]}" for name in TABLES],
            f"{sum(window['stored_files'].values()) + window['checkpoint_files']:,}",
            f"{window['memory_mib']:,.0f}",
        )
    return view


def save(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench-steady.json`` and ``bench-steady.svg``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / "bench-steady.json", folder / "bench-steady.svg"
    data.write_text(json.dumps(report, indent=1) + "\n")
    drawing, axes = new_figure("median time of a commit over the run, ms")
    minutes = [window["minutes"] for window in report["windows"]]
    for name, colour in zip(TABLES, _COLOURS, strict=True):
        axes.plot(minutes, [window["commit_ms"][name] for window in report["windows"]], label=name, color=colour, marker="o")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.legend(frameon=False, ncols=3, loc="lower left")
    drawing.savefig(picture, metadata={"Date": None})
    return [data, picture]
