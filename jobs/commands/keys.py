"""``tidemill keys``: the keys that personal data is sealed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Json, console, print_json

if TYPE_CHECKING:
    from lakehouse.security.keyring import Keyring

keys = typer.Typer(help="Look after the keys that personal data is sealed with.", no_args_is_help=True)


@keys.command()
def rotate(as_json: Json = False) -> None:
    """Give every key a new version, which is used from now on; what older ones sealed can still be read.

    Example: `tidemill keys rotate`
    """
    with _opened({"kind": "keys", "what": "rotated"}) as keyring:
        count = keyring.rotate()
    if as_json:
        print_json({"rotated": count})
    else:
        console.print(f"[green]✓[/] {count:,} keys have a new version.")


@keys.command()
def move(
    master: Annotated[
        str, typer.Argument(help="aws-kms://arn:…, hcvault://host/mount/keys/name, or `file` for a new file here.")
    ],
) -> None:
    """Wrap the workspace's keys with another master key; then set `keys.master` to it.

    Example: `tidemill keys move file`
    """
    uri = "" if master == "file" else master
    with _opened({"kind": "keys", "what": "moved", "master": master}) as keyring:
        keyring.move(uri)
    told, then = (uri, f"set keys.master to {uri}") if uri else ("A new master.key in .tidemill", "leave keys.master empty")
    console.print(f"{told} is the master key now: {then}, and run the lanes again.", markup=False, soft_wrap=True)


@contextmanager
def _opened(entry: dict[str, Any]) -> Iterator[Keyring]:
    """Open the keyring, with what is done to it on record."""
    from lakehouse.clients import postgres_dsn
    from lakehouse.control import Control
    from lakehouse.security.audit import Audit
    from lakehouse.security.keyring import Keyring
    from lakehouse.settings import Settings
    from lakehouse.storage.objects import Objects
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    settings = Settings.load(workspace)
    with closing(Control(postgres_dsn(settings))) as control, closing(Audit(control, Objects(settings))) as audit:
        keyring = Keyring(workspace, settings, control)
        audit.record(entry)
        yield keyring
