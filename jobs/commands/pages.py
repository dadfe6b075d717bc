"""``tidemill pages``: the pages of a workspace."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from jobs.console import console


def pages(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; a free one when 0.")] = 0,
    sign_in: Annotated[bool, typer.Option("--sign-in", help="Let people sign in, and show them what the policy does.")] = False,
) -> None:
    """Serve the pages of the workspace, Operations and Live among them, until Ctrl-C or SIGTERM.

    The pages show what other commands do; nothing is started by them.

    Example: `tidemill pages`
    """
    from apps.serve import serve
    from lakehouse.workspace import Workspace

    ended = threading.Event()
    served = serve(Workspace.find(), port=port, sign_in=sign_in)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    console.print(f"[green]✓[/] The pages are at [bold]{served.url}[/]  (Ctrl-C stops)")
    ended.wait()
    served.stop()
