"""The ``tidemill`` command. Each command is one module in ``jobs/commands/`` and one entry in ``COMMANDS``.

Command modules import the engine inside their function, so that ``tidemill --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.account import account
from jobs.commands.audit import audit
from jobs.commands.bench import bench
from jobs.commands.demo import demo
from jobs.commands.doctor import doctor
from jobs.commands.down import down
from jobs.commands.forget import forget
from jobs.commands.init import init
from jobs.commands.keys import keys
from jobs.commands.new import new
from jobs.commands.pages import pages
from jobs.commands.policy import policy
from jobs.commands.query import query
from jobs.commands.rebuild import rebuild
from jobs.commands.replay import replay
from jobs.commands.run import run
from jobs.commands.status import status
from jobs.commands.up import up
from jobs.console import errors
from lakehouse.errors import TidemillError

COMMANDS = (up, down, demo, status, run, pages, replay, account, rebuild, forget, query, init, new, bench, doctor)
GROUPS = {"policy": policy, "audit": audit, "keys": keys}
"""Commands that have commands of their own."""

app = typer.Typer(
    name="tidemill",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they may hold credentials
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tidemill {version('tidemill')}")
        raise typer.Exit


@app.callback()
def tidemill(
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            envvar="TIDEMILL_WORKSPACE",
            help="Folder of the workspace; the one around the working directory when left out.",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A real-time lakehouse in one command: streams land in Delta tables through quality gates.

    Example: `tidemill up && tidemill demo`
    """
    if workspace is not None:
        os.environ["TIDEMILL_WORKSPACE"] = str(workspace)  # where Workspace.find looks, here and in child processes


for command in COMMANDS:
    app.command()(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line: an error that Tidemill raised on purpose is one sentence, and exit code 1."""
    try:
        app()
    except TidemillError as error:
        if os.environ.get("TIDEMILL_DEBUG") == "1":
            raise
        errors.print(str(error), style="red", markup=False, soft_wrap=True)
        for note in getattr(error, "__notes__", []):
            errors.print(note, style="red", markup=False, soft_wrap=True)
        sys.exit(1)
