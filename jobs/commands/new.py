"""``tidemill new``: add a feed or a page to a workspace."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import console

if TYPE_CHECKING:
    from lakehouse.workspace import Workspace


class Kind(StrEnum):
    """What can be added."""

    FEED = "feed"
    PAGE = "page"


def new(
    kind: Annotated[Kind, typer.Argument(help="What to add.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and underscores.")],
) -> None:
    """Add a feed or a page to the workspace, to be changed to your needs.

    A feed is its tables in bronze, silver and gold, its suite and its test; it reads JSON records from the Kafka topic of the
    same name. A page is a folder in `apps/`, served beside the Operations page.

    Example: `tidemill new feed readings`
    """
    from jobs.scaffold import make_feed, make_page
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    files = make_feed(workspace, name) if kind is Kind.FEED else make_page(workspace, name)
    for file in files:
        console.print(f"wrote {file.relative_to(workspace.root)}", markup=False, soft_wrap=True)
    console.print(_feed_next(workspace, name) if kind is Kind.FEED else _page_next(name), markup=False, soft_wrap=True)


def _feed_next(workspace: Workspace, name: str) -> str:
    tables, suites = (folder.relative_to(workspace.root) for folder in (workspace.tables, workspace.expectations))
    return (
        f"Next: change the columns in {tables / 'silver' / name}.py and the rules in {suites / 'silver' / name}.py to what your "
        f"records hold,\nthen `tidemill run`, which makes the topic {name} if it is not there, and publish records to it. "
        f"The test needs pytest: `pytest tests/test_{name}.py`."
    )


def _page_next(name: str) -> str:
    return (
        f"Next: change what is read in apps/{name}/data.py and how it is shown in apps/{name}/page.py.\n"
        f"`tidemill demo` serves it at /{name}, beside the Operations page."
    )
