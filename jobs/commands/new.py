"""``tidemill new``: add a feed or a page to a workspace."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from jobs.console import console


class Kind(StrEnum):
    """What can be added."""

    FEED = "feed"


def new(
    kind: Annotated[Kind, typer.Argument(help="What to add.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and underscores.")],
) -> None:
    """Add a feed to the workspace: its tables in bronze, silver and gold, its suite and its test, to be changed to your needs.

    The feed reads JSON records from the Kafka topic of the same name.

    Example: `tidemill new feed readings`
    """
    from jobs.scaffold import make_feed
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    files = make_feed(workspace, name)
    for file in files:
        console.print(f"wrote {file.relative_to(workspace.root)}", markup=False, soft_wrap=True)
    console.print(
        f"Next: change the columns in silver/{name}.py and the rules in expectations/silver/{name}.py to what your records hold,",
        f"publish records to the topic {name}, and `tidemill run`. The test needs pytest: `pytest tests/test_{name}.py`.",
        markup=False,
        soft_wrap=True,
        sep="\n",
    )
