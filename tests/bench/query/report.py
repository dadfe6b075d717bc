"""The figures of the benchmark for people: tables, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from ..lake.report import new_figure

LABELS = {
    "gateway": "gateway, with filter and mask",
    "stream": "DuckDB over delta-rs, streams",
    "dataset": "DuckDB over delta-rs, datasets",
    "local": "DuckDB, local Parquet files",
    "spark": "Spark SQL",
}
_COLOURS = {"gateway": "#0b7285", "stream": "#868e96", "spark": "#e8590c"}


def table(report: dict[str, Any]) -> RenderableType:
    """Return a table for each part, and the figures."""
    machine = report["machine"]
    parts: list[RenderableType] = [f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"]
    if hot := report.get("hot"):
        parts.append(_hot(hot))
    if gold := report.get("gold"):
        parts += [_gold(gold), *gold["texts"]]
    if tpch := report.get("tpch"):
        parts.append(_tpch(tpch))
    return Group(*parts, *[f"{name}: {value:,g}" for name, value in (report["figures"] | report["ratios"]).items()])


def _hot(hot: dict[str, Any]) -> Table:
    view = _view(
        f"live table, {hot['rows']:,} rows and a thousand more a second", "reads", "p50 ms", "p95 ms", "p99 ms", "errors"
    )
    for kind in hot["kinds"]:
        times = [f"{kind[name]:,.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")]
        view.add_row(kind["kind"], f"{kind['reads']:,}", *times, f"{kind['errors']:,}")
    return view


def _gold(gold: dict[str, Any]) -> Table:
    view = _view(
        f"dashboards: {gold['users']:,} users, {gold['views']} views of {gold['tenants']} tenants, {gold['commits']} commits in "
        f"{gold['seconds']:g} s, {gold['errors']:,} errors",
        *("share", "p50 ms", "p95 ms", "p99 ms"),
    )
    shares = {"all": 1.0, "cached": gold["cached_share"], "cold": 1 - gold["cached_share"]}
    for name, share in shares.items():
        view.add_row(name, f"{share:.1%}", *[f"{value:,.1f}" for value in gold[name].values()])
    view.caption = "processor time, cores: " + ", ".join(f"{part} {cores:.2f}" for part, cores in gold["cores"].items())
    return view


def _tpch(tpch: dict[str, Any]) -> Table:
    names = list(tpch["seconds"])
    view = _view(f"TPC-H, scale factor {tpch['scale']:g}, seconds (median of {tpch['times']})", *[LABELS[name] for name in names])
    for query in tpch["rows"]:
        mark = " wrong" if query in tpch["wrong"] else ""
        view.add_row(query + mark, *[f"{tpch['seconds'][name][query]:.2f}" for name in names])
    view.add_section()
    view.add_row("all", *[f"{sum(tpch['seconds'][name].values()):.2f}" for name in names])
    view.add_row("all, first time", *[f"{sum(tpch['first'][name].values()):.2f}" for name in names])
    return view


def _view(title: str, *numbers: str) -> Table:
    view = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1))
    view.add_column("", no_wrap=True)
    for name in numbers:
        view.add_column(name, justify="right")
    return view


def save(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench-query.json`` and ``bench-query.svg``, a picture of TPC-H; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / "bench-query.json", folder / "bench-query.svg"
    data.write_text(json.dumps(report, indent=1) + "\n")
    if not (tpch := report.get("tpch")):
        return [data]
    drawing, axes = new_figure(f"TPC-H, scale factor {tpch['scale']:g}: seconds by query")
    queries = list(tpch["rows"])
    for place, (name, colour) in enumerate(_COLOURS.items()):
        took = [tpch["seconds"][name][query] for query in queries]
        left = [number + 0.27 * (place - 1) for number in range(len(queries))]
        axes.bar(left, took, width=0.25, color=colour, label=LABELS[name])
    axes.set_xticks(range(len(queries)), [query.removeprefix("q").lstrip("0") for query in queries])
    axes.legend(frameon=False, ncols=len(_COLOURS), loc="upper left", fontsize=9)
    axes.margins(x=0.01, y=0.2)
    drawing.savefig(picture, metadata={"Date": None})
    return [data, picture]
