"""Personal data: sealed as it comes in, revealed to those who may see it, and gone once its key is destroyed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from lakes import Lake

from lakehouse.errors import KeyringError
from lakehouse.lanes.judge import SEALED
from lakehouse.security.keyring import Keyring
from lakehouse.security.pii import payload_place, place

pytestmark = pytest.mark.integration

BRONZE = """
from lakehouse.catalog import Kafka, bronze
{feed} = bronze("{feed}", source=Kafka(topic="{topic}", partitions=2))
"""
SILVER = """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Bronze, Json, Personal, silver

@silver(
    "{feed}",
    keys=["id"],
    parse=Json("id STRING, at TIMESTAMP, airline STRING, email STRING, name STRING, seat INT"),
    event_time="at", watermark="1 day", future="1 hour", suite="silver/{feed}",
    pii=Personal("email", tenant="airline", tokens=["email"], sealed=["name", "seat"]),
)
def {feed}(records: Annotated[DataFrame, Bronze("{feed}")]) -> DataFrame:
    return records.select("_record", "id", "at", "airline", "email", "name", "seat")
"""
SUITE = """
from great_expectations import expectations as gxe
from lakehouse.quality import Suite, drop
suite = Suite([drop(gxe.ExpectColumnValuesToMatchRegex(column="email", regex="@"))])
"""
AT = "2013-01-01T00:00:00Z"


def booking(number: int, email: str, **more: Any) -> bytes:
    row = {"id": f"b{number}", "at": AT, "airline": "UA", "email": email, "name": f"Zoë {email}", "seat": number}
    return json.dumps({**row, **more}, ensure_ascii=False).encode()


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
    files = lake.settings.s3.bucket
    from lakehouse.storage.objects import Objects

    store = Objects(lake.settings).fs
    assert not [path for path in store.find(files) if b"example.org" in store.cat_file(path)]


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
    with psycopg.connect(lake.settings.require("postgres"), autocommit=True) as connection:
        connection.execute("UPDATE tidemill.subject_key SET created_at = now() - interval '31 days'")
    bookings.keyring.expire_quarantine()
    assert bookings.open(letter) is None
    assert bookings.keyring.reveal([bookings.rows()["b1"]["name"]], bookings.place("name")) == ["Zoë ada@example.org"]
