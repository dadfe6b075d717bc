"""The figures of the benchmark for people: a table, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from ..lake.report import new_figure

_NAMES = {
    "seal_rows_per_s": "seal a value (AES-GCM, a key a person)",
    "token_rows_per_s": "make a token (HMAC, AES-SIV)",
    "aes_encrypt_rows_per_s": "Spark's aes_encrypt (one key for all)",
    "rows_alone_rows_per_s": "the rows alone",
    "new_keys_per_s": "make a person's key",
}


def table(report: dict[str, Any]) -> Table:
    """Return one row for each step."""
    view = Table("step", box=box.SIMPLE_HEAD, padding=(0, 1))
    view.add_column("a second", justify="right")
    for name, label in _NAMES.items():
        view.add_row(label, f"{report['figures'][name]:,.0f}")
    return view


def save(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench-seal.json`` and ``bench-seal.svg``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / "bench-seal.json", folder / "bench-seal.svg"
    data.write_text(json.dumps(report, indent=1) + "\n")
    drawing, axes = new_figure("a second, on a logarithmic scale")
    labels = list(_NAMES.values())[::-1]
    values = [report["figures"][name] for name in _NAMES][::-1]
    axes.barh(labels, values, color="#0b7285")
    axes.set_xscale("log")
    for position, value in enumerate(values):
        axes.text(value, position, f" {value:,.0f}", va="center", fontsize=9)
    axes.margins(x=0.2)
    drawing.savefig(picture, metadata={"Date": None})
    return [data, picture]
