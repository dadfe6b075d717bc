"""How commands speak: tables and progress on standard output, errors on standard error, JSON for scripts."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]


def print_json(content: Any) -> None:
    """Print one JSON document for a script; what JSON does not know is written as text."""
    typer.echo(json.dumps(content, default=str))
