"""Write ``docs/cli.md`` and ``docs/settings.md`` from the code: ``python -m jobs.docs`` (``make docs``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, SecretStr

from jobs.cli import app
from lakehouse.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
_GROUP: Any = typer.main.get_command(app)
_CONTEXT = typer.Context(_GROUP)
_MADE = "<!-- Made by `make docs`; changes here are lost. -->"


def cli_page() -> str:
    """Return the page of all commands, from their own help."""
    lines = ["# The command line", "", _MADE, "", _text(_GROUP.help), "", "Before any command:", "", *_options(_GROUP)]
    for name, command in _commands(_GROUP):
        words = [f"<{x.metavar or x.name.upper()}>" for x in command.params if x.param_type_name == "argument"]
        arguments = [x for x in command.params if x.param_type_name == "argument" and getattr(x, "help", None)]
        lines += ["", f"## tidemill {name}", "", "```text", " ".join([f"tidemill {name}", *words, "[OPTIONS]"]), "```", ""]
        lines += [_text(command.help)]
        if arguments:
            lines += ["", "| argument | |", "|---|---|"]
            lines += [f"| `{x.metavar or x.name.upper()}` | {_cell(x.help)}{_default(x)} |" for x in arguments]
        if options := _options(command):
            lines += ["", *options]
    return "\n".join(lines) + "\n"


def _commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def settings_page() -> str:
    """Return the page of all settings, from the class that reads them."""
    lines = [
        "# Settings",
        "",
        _MADE,
        "",
        "Highest first: the environment, `tidemill.toml`, what `tidemill up` keeps for its embedded servers, the defaults.",
        "",
        "```toml",
        "[lake]                     # in tidemill.toml; in the environment it is TIDEMILL_LAKE__CORES=4",
        "cores = 4",
        "```",
        "",
        "A server whose address is set is external: nothing is started for that part.",
    ]
    for section, field in Settings.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type) and issubclass(kind, BaseModel)
        lines += ["", f"## {section}", "", (kind.__doc__ or "").strip(), "", "| setting | in the environment | default | |"]
        lines += ["|---|---|---|---|", *_settings(section, kind)]
    return "\n".join(lines) + "\n"


def _settings(section: str, kind: type[BaseModel]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        secret = " A secret." if SecretStr in getattr(field.annotation, "__args__", ()) else ""
        default = "" if field.default in (None, {}) else f"`{field.default}`"
        meaning = f"{_cell(field.description)}{secret}"
        yield f"| `{name}` | `TIDEMILL_{section.upper()}__{name.upper()}` | {default} | {meaning} |"


def _options(command: Any) -> list[str]:
    options = [x for x in command.params if x.param_type_name == "option" and x.name != "help" and not x.hidden]
    if not options:
        return []
    lines = ["| option | |", "|---|---|"]
    for option in options:
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        value = "" if option.is_flag else f" `{_cell(option.metavar or option.display_type(_CONTEXT))}`"
        lines.append(f"| {names}{value} | {_cell(option.help)}{_default(option)} |")
    return lines


def _default(parameter: Any) -> str:
    value = parameter.default
    shown = value is not None and value is not ... and not parameter.required and not getattr(parameter, "is_flag", False)
    return f" Default: `{value}`." if shown and isinstance(value, str | int | float) else ""


def _text(text: str | None) -> str:
    return "\n".join(line.rstrip() for line in (text or "").strip().splitlines())


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def main() -> None:
    """Write both pages."""
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
