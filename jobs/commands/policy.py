"""``tidemill policy``: look at who may see what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import Json, console, print_json

if TYPE_CHECKING:
    from lakehouse.security.policy import View

policy = typer.Typer(help="Look at who may see what: `policy.yml` of the workspace.", no_args_is_help=True)


@policy.command()
def check(as_json: Json = False) -> None:
    """Read the policy as a whole, and say what is wrong with it; the exit code is 1 then.

    Example: `tidemill policy check`
    """
    from lakehouse.security.policy import Policy
    from lakehouse.security.users import local_users
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    found = Policy.load(workspace)
    found.check(_tables(workspace))
    users = local_users(workspace)
    unknown = {user.name: sorted(set(user.roles) - set(found.grants)) for user in users.values()}
    unknown = {name: roles for name, roles in unknown.items() if roles}
    if as_json:
        granted = {role: [grant.tables for grant in grants] for role, grants in found.grants.items()}
        print_json({"version": found.version, "roles": granted, "users": sorted(users), "unknown_roles": unknown})
        return
    console.print(f"[green]✓[/] {len(found.grants)} roles, {len(users)} users of the workspace; version {found.version}")
    for name, roles in unknown.items():
        console.print(
            f"{name} has roles that the policy does not know, and which give nothing: {', '.join(roles)}.", markup=False
        )


@policy.command()
def explain(
    user: Annotated[str, typer.Argument(help="A user of the workspace's `users.yml`.")],
    table: Annotated[str, typer.Argument(help="`layer.table`.")],
    purpose: Annotated[str | None, typer.Option(help="What for.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a user sees of a table, and which role gives it; the exit code is 1 when it is nothing.

    Example: `tidemill policy explain ada silver.flights`
    """
    from lakehouse.errors import UnknownNameError
    from lakehouse.security.policy import Policy
    from lakehouse.security.users import local_user
    from lakehouse.workspace import Workspace

    workspace = Workspace.find()
    tables = _tables(workspace)
    if table not in tables:
        raise UnknownNameError(f"There is no table {table}; there are: {', '.join(sorted(tables))}.")
    view = Policy.load(workspace).view(local_user(workspace, user), table, purpose)
    lines = _lines(view)
    if as_json:
        print_json({"user": user, "table": table, "tenant": view.tenant, **lines})
        return
    for name, line in lines.items():
        console.print(f"{name:11}{line if isinstance(line, str) else '; '.join(line) or 'all'}", markup=False)


def _lines(view: View) -> dict[str, Any]:
    from lakehouse.security.policy import OPERATORS

    masks = []
    for name, mask in view.masks.items():
        how = getattr(mask, mask.kind)
        masks.append(f"{name}: {mask.kind}" if how is True else f"{name}: {mask.kind}:{how}")
    return {
        "role": view.role,
        "columns": "all" if view.columns is None else sorted(view.columns),
        "masks": masks or "none",
        **({"reveals": [f"{name}, sealed in {table}" for name, table in view.reveal.items()]} if view.reveal else {}),
        **({"anonymous": str(view.anonymous)} if view.anonymous else {}),
        "rows": [f"{x.column} {OPERATORS[x.operator]} {', '.join(map(str, x.values)) or 'nothing'}" for x in view.rows] or "all",
    }


def _tables(workspace: Any) -> list[str]:
    from lakehouse.catalog import table_files
    from lakehouse.livetables import served_tables

    return sorted({*table_files(workspace), *served_tables(workspace)})  # bronze, too, can be spoken of
