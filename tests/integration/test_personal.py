"""Personal data: sealed as it comes in, revealed to those who may see it, and gone once its key is destroyed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from guests import BRONZE, SILVER, SUITE, booking
from lakes import Lake

from lakehouse.deadletter.envelope import RECORD
from lakehouse.errors import DeclarationError, KeyringError, QueryRefusedError, UnknownNameError
from lakehouse.forgetting import forget
from lakehouse.lanes.fast import FastLane
from lakehouse.lanes.judge import SEALED
from lakehouse.livetables import live_tables
from lakehouse.security.audit import Audit
from lakehouse.security.keyring import Keyring
from lakehouse.security.pii import payload_place, place
from lakehouse.security.users import User
from lakehouse.serving.gateway.gateway import Gateway, Question
from lakehouse.storage.objects import Objects

pytestmark = pytest.mark.integration

POLICY = """
roles:
  desk:
    - {{tables: [{table}], columns: [id, name], reveal: {{name: {table}}}, purposes: [support]}}
  analyst:
    - {{tables: [{table}], columns: "*"}}
"""


@dataclass
class Bookings:
    lake: Lake
    keyring: Keyring

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row.asDict() for row in self.lake.table(f"silver.{self.lake.feed}").collect()}

    def letters(self) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.lake.table(f"dead_letters.{self.lake.feed}").collect()]

    def bronze(self) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.lake.table(f"bronze.{self.lake.feed}").collect()]

    def open(self, row: dict[str, Any]) -> bytes | None:
        return self.keyring.unseal(row["value"], row["payload_key_id"], payload_place(self.lake.feed, "value"))

    def place(self, column: str) -> str:
        return place(f"silver.{self.lake.feed}", column)


@pytest.fixture
def bookings(new_lake: Callable[..., Lake]) -> Iterator[Bookings]:
    lake = new_lake()
    names = {"feed": lake.feed, "topic": lake.topic}
    lake.write("bronze", BRONZE.format(**names))
    lake.write("silver", SILVER.format(**names))
    lake.write("expectations/silver", SUITE)
    yield Bookings(lake, Keyring(lake.workspace, lake.settings, lake.control))


def test_nothing_personal_lands_in_the_clear(bookings: Bookings) -> None:
    lake = bookings.lake
    marker = "ada@example.org"
    malformed = [b'{"email": "ada@example.org", "airline": "UA"', b"\xff\xfe ada@example.org", None, b"[1]", b""]
    wrong = [booking(8, marker, seat="window"), booking(9, "nobody"), booking(10, marker, airline="  ")]
    lake.publish([booking(1, marker), booking(2, " ADA@example.org"), booking(3, "ben@example.org"), *malformed, *wrong])
    assert lake.run_once() == {}
    rows = bookings.rows()
    assert sorted(rows) == ["b1", "b2", "b3"]
    assert rows["b1"]["email"] != rows["b3"]["email"]
    assert bookings.keyring.reveal([rows["b1"]["name"], None, rows["b3"]["name"]], bookings.place("name")) == [
        "Zoë ada@example.org",
        None,
        "Zoë ben@example.org",
    ]
    assert bookings.keyring.reveal([rows["b1"]["seat"]], bookings.place("seat")) == ["1"]
    assert bookings.keyring.reveal([rows["b1"]["seat"], "no ciphertext", "a.b"], bookings.place("name")) == [None, None, None]
    # Whatever came, nothing of it can be read where it lies; with the keys all of it can, to the byte.
    kept = [*bookings.bronze(), *bookings.letters()]
    assert not [row for row in kept if b"example.org" in (row["value"] or b"")]
    assert {bookings.open(row) for row in bookings.bronze() if row["value"] is not None} >= {booking(1, marker), *malformed[1:2]}
    reasons = {reason for row in bookings.letters() for reason in row["reasons"]}
    assert "personal: airline is missing" in reasons
    assert any(reason.startswith("parse: seat") for reason in reasons)
    assert lake.verify() == []
    store = Objects(lake.settings).fs
    assert not [path for path in store.find(lake.settings.s3.bucket) if b"example.org" in store.cat_file(path)]


def test_tokens_join_and_the_case_of_an_address_does_not_matter(bookings: Bookings) -> None:
    lake = bookings.lake
    same = ["ada@example.org", "ada@example.org", "ben@example.org"]
    lake.publish([booking(n, email) for n, email in enumerate(same)] + [booking(7, same[0], airline="DL")])
    assert lake.run_once() == {}
    rows = bookings.rows()
    assert rows["b0"]["email"] == rows["b1"]["email"]
    assert len({rows["b0"]["email"], rows["b2"]["email"], rows["b7"]["email"]}) == 3  # other people, and other tenants
    assert {key.tenant for key in bookings.keyring.find("  Ada@Example.ORG ")} == {"UA", "DL"}
    assert [key.tenant for key in bookings.keyring.find("ada@example.org", "DL")] == ["DL"]
    assert bookings.keyring.find("ada@example.org", "AA") == bookings.keyring.find("eve@example.org") == []


def test_who_is_forgotten_cannot_be_read_anywhere(bookings: Bookings) -> None:
    lake, keyring = bookings.lake, bookings.keyring
    lake.publish([booking(1, "ada@example.org"), booking(2, "ben@example.org"), booking(3, "ada@example.org", seat="x")])
    assert lake.run_once() == {}
    before = bookings.rows()
    keys = keyring.find("ada@example.org")
    keyring.destroy(keys)
    assert keyring.find("ada@example.org") == []
    assert keyring.reveal([before["b1"]["name"], before["b2"]["name"]], bookings.place("name")) == [None, "Zoë ben@example.org"]
    opened = [bookings.open(row) for row in [*bookings.bronze(), *bookings.letters()]]
    assert sorted(x is None for x in opened) == [False, True, True, True]
    # Even whoever has the whole database, and the master key, has no key of hers.
    stored = lake.control.run("SELECT * FROM tidemill.subject_key WHERE id = %s", (keys[0].id,))
    assert (stored[0]["payload"], stored[0]["pseudonyms"], stored[0]["subject"]) == (None, None, None)
    # Processed again, her records are dead letters that nobody can read, and the account is still closed.
    Keyring(lake.workspace, lake.settings, lake.control)
    assert lake.rebuild(f"silver.{lake.feed}") == 1
    assert sorted(bookings.rows()) == ["b2"]
    assert [row["reasons"] for row in bookings.letters()] == [[SEALED], [SEALED]]
    assert lake.verify() == []
    # When she comes back she is somebody new.
    lake.publish([booking(4, "ada@example.org")])
    assert lake.run_once() == {}
    assert bookings.rows()["b4"]["email"] != before["b1"]["email"]


def test_those_to_whom_the_policy_reveals_it_see_it_on_record_until_it_is_forgotten(bookings: Bookings) -> None:
    lake = bookings.lake
    table = f"silver.{lake.feed}"
    (lake.workspace.tables / "policy.yml").write_text(POLICY.format(table=table))
    lake.publish([booking(1, "ada@example.org"), booking(2, "ben@example.org"), booking(3, "ada@example.org", seat="x")])
    assert lake.run_once() == {}
    lake.control.run("DROP TABLE IF EXISTS tidemill.audit")
    desk, analyst = (User(role, "united", (role,), {}) for role in ("desk", "analyst"))
    with closing(Audit(lake.control, Objects(lake.settings))) as audit:
        gateway = Gateway(
            lake.workspace,
            lake.settings,
            audit,
            b"m" * 32,
            reveal=lambda: Keyring(lake.workspace, lake.settings, lake.control).reveal,
        )

        def names(user: User, purpose: str | None = None) -> list[Any]:
            asked = Question(f"SELECT name FROM {table} ORDER BY id", purpose=purpose)
            return [row[0] for row in gateway.ask(user, asked).rows()]

        assert names(desk, "support") == ["Zoë ada@example.org", "Zoë ben@example.org"]
        assert not [name for name in names(analyst) if "Zoë" in name]
        with pytest.raises(QueryRefusedError):
            names(desk)  # without saying what for
        found = forget(lake.workspace, lake.settings, lake.control, audit, "ADA@example.org")
        assert {(x.place, x.found, x.readable) for x in found.traces} == {
            (f"bronze.{lake.feed}", 2, 0),
            (f"dead_letters.{lake.feed}", 1, 0),
            (table, 1, 0),
        }
        assert [(x.place, x.found) for x in found.topics] == [(lake.topic, 3)]
        assert names(desk, "support") == [None, "Zoë ben@example.org"]
        with pytest.raises(UnknownNameError, match="Nobody is known by that name"):
            forget(lake.workspace, lake.settings, lake.control, audit, "ada@example.org")
    entries = [json.loads(row["entry"]) for row in lake.control.run("SELECT entry FROM tidemill.audit ORDER BY number")]
    assert [x.get("revealed") for x in entries if x["kind"] == "query"] == [{table: ["name"]}, None, None, {table: ["name"]}]
    assert [x["outcome"] for x in entries if x["kind"] == "forget"] == ["begun", "done"]
    assert "example.org" not in json.dumps(entries)


def test_keys_are_rotated_while_a_lane_uses_them(bookings: Bookings) -> None:
    lake, keyring = bookings.lake, bookings.keyring
    lake.publish([booking(1, "ada@example.org")])
    assert lake.run_once() == {}
    first = bookings.rows()["b1"]
    assert keyring.rotate() >= 1  # the quarantine of today may have one, too
    lake.publish([booking(2, "ada@example.org"), booking(3, "ben@example.org")])
    assert lake.run_once() == {}
    rows = bookings.rows()
    assert rows["b2"]["email"] == first["email"]
    names = [rows[x]["name"] for x in ("b1", "b2", "b3")]
    assert keyring.reveal(names, bookings.place("name")) == ["Zoë ada@example.org", "Zoë ada@example.org", "Zoë ben@example.org"]
    assert lake.rebuild(f"silver.{lake.feed}") == 3
    keyring.move("")  # another master key
    again = Keyring(lake.workspace, lake.settings, lake.control)
    assert again.reveal(names[:1], bookings.place("name")) == ["Zoë ada@example.org"]


def test_without_the_master_key_the_feed_stops_and_says_so(bookings: Bookings) -> None:
    lake = bookings.lake
    (lake.workspace.state / "master.key").unlink()
    with pytest.raises(KeyringError, match="not the one that the workspace's keys were made with"):
        Keyring(lake.workspace, lake.settings, lake.control)
    lake.publish([booking(1, "ada@example.org")])
    stopped = lake.run_once()
    assert "master key" in stopped[f"bronze.{lake.feed}"]


def test_what_nobody_owns_is_unreadable_after_some_days(bookings: Bookings) -> None:
    lake = bookings.lake
    lake.publish([b"\xff not JSON: ada@example.org", booking(1, "ada@example.org")])
    assert lake.run_once() == {}
    (letter,) = bookings.letters()
    assert bookings.open(letter) == b"\xff not JSON: ada@example.org"
    context = lake.context()
    try:
        context.protector.of(lake.catalog.ingest(lake.feed))
        lake.control.run("UPDATE tidemill.subject_key SET created_at = now() - interval '31 days'")
        context.protector.expire()  # as the lane does now and then
    finally:
        context.lease.release()
    assert bookings.open(letter) is None
    assert bookings.keyring.reveal([bookings.rows()["b1"]["name"]], bookings.place("name")) == ["Zoë ada@example.org"]


LIVE = """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Silver
from lakehouse.livetables import live

@live("{feed}", keys=["name"], sequence_by="at", retention="1 day", window="1 hour")
def {feed}(rows: Annotated[DataFrame, Silver("{feed}")]) -> DataFrame:
    return rows.select("_record", "name", "at")
"""


def test_a_live_table_is_not_keyed_by_what_is_sealed(bookings: Bookings) -> None:
    lake = bookings.lake
    lake.write("live", LIVE.format(feed=lake.feed))
    tables = live_tables(lake.workspace, lake.catalog)
    lane = FastLane(lake.workspace, lake.settings, lake.catalog, tables, lake.spark, lake.control)
    with pytest.raises(DeclarationError, match=r"told apart by \['name'\], which is sealed"):
        lane.rows(tables[lake.feed], lake.spark.createDataFrame([], RECORD), {})


def test_a_database_that_went_away_is_found_again(bookings: Bookings) -> None:
    lake = bookings.lake
    lake.publish([booking(1, "ada@example.org")])
    assert lake.run_once() == {}
    ended = lake.control.run(
        "SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity WHERE application_name = 'PostgreSQL JDBC Driver'"
    )
    assert [row["done"] for row in ended] == [True]
    lake.publish([booking(2, "ben@example.org")])
    assert lake.run_once() == {}
    assert sorted(bookings.rows()) == ["b1", "b2"]
    assert lake.verify() == []
