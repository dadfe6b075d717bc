"""The pages say what is there: generated ones are fresh, commands exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from jobs import docs
from jobs.cli import app

FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(tidemill [^`|…]+)`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def pages(root: Path, files: list[Path]) -> Iterator[tuple[Path, str]]:
    for file in files:
        if file.suffix == ".md":
            yield file, (root / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "made"), [("cli.md", docs.cli_page), ("settings.md", docs.settings_page)])
def test_the_generated_pages_are_fresh(root: Path, page: str, made: Any) -> None:
    assert (root / "docs" / page).read_text(encoding="utf-8") == made(), "stale: run `make docs`"


def commands(text: str) -> Iterator[str]:
    """Yield the `tidemill …` lines of code blocks, with their continuation lines, and those in running text."""
    for block in FENCE.findall(text):
        lines = iter(block.splitlines())
        for line in lines:
            line = line.removeprefix("$ ")
            if not line.startswith("tidemill "):
                continue
            while line.count('"') % 2 or line.endswith("\\"):
                line = line.removesuffix("\\") + " " + next(lines)
            yield from (part.strip() for part in re.split(r" && | # ", line) if part.strip().startswith("tidemill "))
    yield from (" ".join(found.split()) for found in INLINE.findall(FENCE.sub("", text)))


def parse(line: str) -> None:
    """Parse a command line as the CLI does, without running it."""
    group: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in ("-w", "--workspace") else words[1:]
    if not words:
        return
    assert words[0] in group.commands, f"there is no command {words[0]}"
    command = group.commands[words[0]]
    if len(words) > 1:  # `tidemill query` alone is just the command's name
        command.make_context(words[0], words[1:])


def test_every_command_in_the_pages_exists(root: Path, files: list[Path]) -> None:
    wrong, seen = [], 0
    for file, text in pages(root, files):
        if file.name in ("cli.md", "CHANGELOG.md"):
            continue
        for line in commands(text):
            seen += 1
            try:
                parse(line)
            except Exception as error:
                wrong.append(f"{file}: {line}: {error}")
    assert not wrong
    assert seen > 10


@pytest.mark.parametrize("line", ["tidemill fly", "tidemill run --often", "tidemill new fed x", "tidemill account --batches x"])
def test_a_command_that_is_not_there_is_found(line: str) -> None:
    with pytest.raises(Exception, match=r".+"):
        parse(line)


def test_commands_are_read_as_a_person_reads_them() -> None:
    text = (
        '```console\n$ tidemill query "SELECT 1,\n   2"\n$ tidemill up && tidemill run\nno command\n```\nUse `tidemill down`.\n'
    )
    assert list(commands(text)) == ['tidemill query "SELECT 1,    2"', "tidemill up", "tidemill run", "tidemill down"]


def test_links_lead_somewhere(root: Path, files: list[Path]) -> None:
    dead = [
        f"{file}: {target}"
        for file, text in pages(root, files)
        for target in LINK.findall(text)
        if not (root / file.parent / target).exists()
    ]
    assert not dead


def test_the_map_names_every_page(root: Path) -> None:
    index = (root / "docs/index.md").read_text(encoding="utf-8")
    pages = {file.name for file in (root / "docs").glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_every_target_is_in_the_help_of_make(root: Path) -> None:
    text = (root / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)) - {"chromium"}
    assert targets == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
