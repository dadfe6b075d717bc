from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import lakehouse
from lakehouse.catalog import table_files
from lakehouse.errors import AccessDeniedError, PolicyError, UnknownNameError
from lakehouse.livetables import live_names
from lakehouse.security.keys import mask_key
from lakehouse.security.policy import Policy, Test
from lakehouse.security.users import User, local_user, local_users
from lakehouse.workspace import Workspace

Test.__test__ = False  # type: ignore[attr-defined]  # a condition, not a test

POLICY = Policy("""
roles:
  boss:
    - tables: [silver.staff]
      columns: "*"
  analyst:
    - tables: [silver.flights]
      columns: [Carrier, delay]
      purposes: [operations]
      rows:
        - {column: carrier, in: {claim: carriers}}
        - {column: at, ge: 2013-01-02T00:00:00Z}
        - {column: day, lt: 2013-02-01}
      masks: {DELAY: {range: 15}}
    - tables: [silver.*]
      columns: "*"
      masks: {name: null, tail: hash}
    - tables: [gold.*]
      columns: "*"
""")
ADA = User("ada", "united", ("analyst",), {"carriers": ("UA", "AA")})


def test_the_first_grant_of_the_first_role_decides() -> None:
    view = POLICY.view(ADA, "silver.flights", "operations")
    assert view.columns == {"carrier", "delay"}
    assert (view.role, view.tenant, view.is_whole) == ("analyst", "united", False)
    assert view.masks["delay"].range == 15
    assert view.rows == (
        Test("carrier", "in", ("UA", "AA")),
        Test("at", "ge", (datetime(2013, 1, 2, tzinfo=UTC),)),
        Test("day", "lt", (date(2013, 2, 1),)),
    )
    assert {name: mask.kind for name, mask in POLICY.view(ADA, "silver.staff").masks.items()} == {"name": "null", "tail": "hash"}
    assert POLICY.view(User("x", "t", ("analyst", "boss")), "silver.staff").is_whole


def test_what_is_not_granted_is_denied() -> None:
    tables = ["bronze.flights", "silver.flights", "silver.staff", "gold.routes", "live.flights"]
    assert list(POLICY.visible(ADA, tables)) == ["silver.staff", "gold.routes"]
    assert list(POLICY.visible(ADA, tables, "operations")) == ["silver.flights", "silver.staff", "gold.routes"]
    assert POLICY.visible(User("x", "t", ("admin", "Analyst")), tables) == {}
    with pytest.raises(AccessDeniedError, match=r"may see silver\.flights for operations, and asked for marketing"):
        POLICY.view(ADA, "silver.flights", "marketing")
    with pytest.raises(AccessDeniedError, match=r"may not see live\.flights"):
        POLICY.view(ADA, "live.flights")


def test_a_claim_that_is_missing_lets_no_row_through() -> None:
    view = POLICY.view(User("x", "t", ("analyst",)), "silver.flights", "operations")
    assert view.rows[0] == Test("carrier", "in", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no policy"),
        ("roles: [", "no YAML"),
        ("roles: {a: [{tables: [silver.x]}]}", "roles.a.0.columns: Field required"),
        ("roles: {a: [{tables: [], columns: '*'}]}", "at least 1 item"),
        ("roles: {a: [{tables: [x], columns: '*'}]}", "x is no table"),
        ("roles: {a: [{tables: ['*.x'], columns: '*'}]}", "is no table"),
        ("roles: {a: [{tables: ['silver.f*'], columns: '*'}]}", "is no table"),
        ("roles: {a: [{tables: [s.x], columns: '*', row: []}]}", "Extra inputs"),
        ("roles: {a: [{tables: [s.x], columns: '*', rows: [{column: c}]}]}", "compares its column once"),
        ("roles: {a: [{tables: [s.x], columns: '*', rows: [{column: c, eq: 1, ne: 2}]}]}", "compares its column once"),
        ("roles: {a: [{tables: [s.x], columns: '*', rows: [{column: c, like: x}]}]}", "Extra inputs"),
        ("roles: {a: [{tables: [s.x], columns: '*', rows: [{column: c, lt: .nan}]}]}", "finite"),
        ("roles: {a: [{tables: [s.x], columns: '*', masks: {c: rot13}}]}", "masks.c"),
        ("roles: {a: [{tables: [s.x], columns: '*', masks: {c: {range: 0}}}]}", "greater than 0"),
        ("roles: {a: [{tables: [s.x], columns: '*', masks: {c: {partial: {first: -1}}}}]}", "greater than or equal"),
        ("roles: {a: [{tables: [s.x], columns: '*', masks: {c: {truncate: month, hash: true}}}]}", "just one of"),
        ("roles: {a: [{tables: [s.x], columns: '*', masks: {c: {truncate: \"'); DROP\"}}}]}", "truncate"),
        ("roles: {a: []}\nroles: {a: []}", "no YAML"),
        ("!!python/object/apply:os.system ['true']", "no YAML|no policy"),
    ],
)
def test_a_policy_is_read_as_a_whole_or_not_at_all(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy(text)


def test_a_table_that_is_not_there_is_a_mistake() -> None:
    POLICY.check(["silver.flights", "silver.staff"])
    with pytest.raises(PolicyError, match=r"names silver\.staff; there are: silver\.flights"):
        POLICY.check(["silver.flights"])


def test_the_reference_policy_fits_the_reference_tables_and_users(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text('[workspace]\ntables = "lakehouse"\n')
    shutil.copytree(Path(lakehouse.__file__).parent, tmp_path / "lakehouse")
    workspace = Workspace.load(tmp_path)
    policy, users = Policy.load(workspace), local_users(workspace)
    tables = [*table_files(workspace), *(f"live.{name}" for name in live_names(workspace))]
    policy.check(tables)
    seen = {name: policy.visible(user, tables) for name, user in users.items()}
    assert {role for user in users.values() for role in user.roles} == set(policy.grants)
    assert set(seen["root"]) == set(tables)
    assert "gold.routes" in seen["cleo"]
    assert "gold.routes" not in seen["ada"]
    assert seen["ada"]["silver.flights"].rows != seen["ben"]["silver.flights"].rows
    assert not any(table.startswith("bronze.") for name in ("ada", "ben", "cleo") for table in seen[name])


def test_a_policy_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text("")
    workspace = Workspace.load(tmp_path)
    with pytest.raises(PolicyError, match="nobody may see anything"):
        Policy.load(workspace)
    (tmp_path / "policy.yml").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="nobody may see anything"):
        Policy.load(workspace)


def test_users_of_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text("")
    workspace = Workspace.load(tmp_path)
    assert local_users(workspace) == {}
    with pytest.raises(UnknownNameError, match="there are: none"):
        local_user(workspace, "ada")
    (tmp_path / "users.yml").write_text("users: {ada: {tenant: t, roles: [r], attributes: {a: 1, b: [x, y]}}}")
    assert local_user(workspace, "ada") == User("ada", "t", ("r",), {"a": (1,), "b": ("x", "y")})
    for wrong in ("users: {ada: {roles: [r]}}", "users: {ada: {tenant: 3}}", "users: [", "[]"):
        (tmp_path / "users.yml").write_text(wrong)
        with pytest.raises(PolicyError, match=r"users\.yml"):
            local_users(workspace)


def test_the_key_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text("")
    workspace = Workspace.load(tmp_path)
    key = mask_key(workspace)
    assert len(key) == 32
    assert mask_key(workspace) == key
    assert [x.name for x in workspace.state.iterdir()] == ["mask.key"]
    assert (workspace.state / "mask.key").stat().st_mode & 0o777 == 0o600
