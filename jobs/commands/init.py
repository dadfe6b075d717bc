"""``tidemill init``: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import console


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it may be there, if it is empty.")],
    empty: Annotated[bool, typer.Option("--empty", help="Without the reference tables.")] = False,
) -> None:
    """Make a workspace of your own, with the reference tables in it to read, run and replace.

    Example: `tidemill init flights`
    """
    from jobs.scaffold import make_workspace

    made = make_workspace(folder, empty=empty)
    what = "an empty workspace" if empty else "a workspace with the reference tables"
    console.print(f"Made {what} in {made.root}.", markup=False, soft_wrap=True)
    console.print("Next:", f"  cd {folder}", markup=False, sep="\n")
    console.print(
        "  tidemill new feed NAME" if empty else "  tidemill up && tidemill replay && tidemill run --once", markup=False
    )
