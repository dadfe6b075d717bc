"""``tidemill bench``: measure Tidemill beside what one would write instead."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Annotated, Any

import typer

from jobs.console import Json, console, errors, print_json

_CONTRACT = ("name", "machine", "figures", "ratios")


def bench(
    name: Annotated[str, typer.Argument(help="Name of the benchmark: a folder of `tests/bench/`.")],
    events: Annotated[int | None, typer.Option(min=1, help="How many events; the benchmark's own number when left out.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Contenders to run, separated by commas; all when left out.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender runs, in turns; figures are medians.")] = 1,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Show how Tidemill's memory grows with the input: a quarter, all, four times as much."),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look whether it runs: little input and short times; the figures say little.")
    ] = False,
    save: Annotated[bool, typer.Option("--save", help="Write figures and picture to `docs/images`.")] = False,
    as_json: Json = False,
) -> None:
    """Run a benchmark of the source checkout, on servers of its own in the folder for temporary files.

    Example: `tidemill bench lake --events 100000`
    """
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    runner, report = _modules(workspace.root / "tests" / "bench", name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave by the way that stops the servers
    wanted = [part.strip() for part in only.split(",")] if only else []
    with errors.status("") as status:
        shown = ""

        def say(text: str) -> None:
            nonlocal shown
            status.update(text)
            if not errors.is_terminal and (step := text.partition(":")[0]) != shown:
                shown = step
                errors.print(text, markup=False)

        result = runner.run(count=events, only=wanted, rounds=rounds, memory=memory, quick=quick, say=say)
    if save:
        for file in report.save(result, workspace.root / "docs" / "images"):
            errors.print(f"wrote {file}", markup=False, soft_wrap=True)
    if as_json:
        print_json({key: result[key] for key in _CONTRACT})
    else:
        console.print(report.table(result))


def _modules(folder: Any, name: str) -> tuple[Any, Any]:
    """Import a benchmark's ``run`` and ``report``.

    Raises:
        UnknownNameError: There is no such benchmark here.
    """
    from lakehouse.errors import UnknownNameError

    there = sorted(file.parent.name for file in folder.glob("*/run.py"))
    if not there:
        raise UnknownNameError(f"There are no benchmarks in {folder}: they come with the source checkout, so run this in one.")
    if name not in there:
        raise UnknownNameError(f"No benchmark {name}; there are: {', '.join(there)}.")
    if (tests := str(folder.parent)) not in sys.path:
        sys.path.insert(0, tests)
    return importlib.import_module(f"bench.{name}.run"), importlib.import_module(f"bench.{name}.report")
