"""What the parser proves of a record by counting, compared with Python's own reading of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse.catalog import Json
from lakehouse.quality.parse import parse_json, wire_schema
from lakehouse.testing import rows_of

WIRE = Json("name STRING, at TIMESTAMP, count BIGINT, ratio DOUBLE, is_new BOOLEAN")
KINDS: dict[str, tuple[type, ...]] = {"name": (str,), "at": (str,), "count": (int,), "ratio": (int, float), "is_new": (bool,)}
GOOD = b'{"name":"gull","at":"2013-06-01T12:00:00Z","count":3,"ratio":0.5,"is_new":true}'

Read = Callable[[Iterable[bytes | None]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def read(spark: SparkSession) -> Read:
    """Return each record's fields, ``suspect``, ``undeclared``, and the ``reasons`` of suspects."""

    def run(values: Iterable[bytes | None]) -> list[dict[str, Any]]:
        parsed = parse_json(F.col("value"), wire_schema(WIRE))
        rows = [(number, None if x is None else bytearray(x)) for number, x in enumerate(values)]
        raw = spark.createDataFrame(rows, "number INT, value BINARY").coalesce(1)
        first = raw.select("number", "value", parsed.root.alias(parsed.alias), parsed.shape.alias(parsed.shape_alias))
        reasons = F.when(parsed.suspect, parsed.reasons)
        verdict = [parsed.suspect.alias("suspect"), parsed.undeclared.alias("undeclared"), reasons.alias("reasons")]
        return rows_of(first.select("number", *parsed.fields, *verdict).orderBy("number"))

    return run


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        b' {"name" :\t"gull" ,\n"count": 3 }\r\n',
        b"{}",
        b'{"name":null,"count":3,"ratio":1e3}',
        rb'{"name":"a \"gull\" \\ \/ \n \u00fc","count":3}',
        '{"name":"{[möwe]}: 🐦","count":-0}'.encode(),
        b'{"name":"","count":3,"other":null}',
    ],
)
def test_ordinary_records_are_proven_by_their_counts(read: Read, value: bytes) -> None:
    (row,) = read([value])
    assert not row["suspect"]
    assert row["name"] == json.loads(value).get("name")
    assert row["count"] == json.loads(value).get("count")


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        GOOD[:-1],
        GOOD + b"}",
        GOOD + GOOD,
        GOOD + b" x",
        b'{"name":"gull","name":"tern"}',
        b'{"name":null,"name":"tern"}',
        b'{"name":5}',
        b'{"name":5,"other":null}',
        b'{"name":true,"other":"x"}',
        b'{"count":"3"}',
        b'{"count":3.5}',
        b'{"count":99999999999999999999}',
        b'{"ratio":1e999}',
        b'{"ratio":NaN}',
        b'{"at":"soon"}',
        b'{"at":1370088000}',
        b"{'name':'gull'}",
        b'{"name":"gu\xffll"}',
        b'{"name":"gu\xed\xa0\x80ll"}',
        rb'{"name":"\ud800"}',
        rb'{"name":"\uDFFF"}',
        b'{"name":"gull","other":1}',
        b'{"name":{"a":1}}',
        b'{"name":"gull","other":[]}',
        b'\xef\xbb\xbf{"name":"gull"}',
        GOOD.decode().encode("utf-16-le"),
        GOOD.decode().encode("utf-32"),
    ],
)
def test_what_counts_do_not_prove_is_looked_at_again(read: Read, value: bytes | None) -> None:
    (row,) = read([value])
    assert row["suspect"]


def test_undeclared_fields_are_named_whether_they_have_a_value_or_not(read: Read) -> None:
    values = [b'{"count":1,"x":1}', b'{"count":1,"x":null}', b'{"count":1,"x":{"count":2}}', b'{"count":1,"name":null}', b"{"]
    rows = read(values)
    assert [row["undeclared"] for row in rows] == [["x"], ["x"], ["x"], None, None]
    assert [row["reasons"] is None for row in rows] == [True] * 4 + [False]


def test_a_proven_record_is_what_python_reads_of_it(read: Read) -> None:
    chance = random.Random(20130601)
    values = [_mutated(chance) for _ in range(3_000)]
    rows = read(values)
    proven = [(value, row) for value, row in zip(values, rows, strict=True) if not row["suspect"]]
    assert 300 < len(proven) < 2_700
    for value, row in proven:
        pairs = json.loads(value.decode(), object_pairs_hook=list)
        assert len({name for name, _ in pairs}) == len(pairs), value
        for name, found in pairs:
            assert found is None or type(found) in KINDS[name], value
            if name in ("name", "count", "is_new"):
                assert row[name] == found, value


def _mutated(chance: random.Random) -> bytes:
    """Return an object with some of the fields, often of another type, and often with a byte that is changed, added or gone."""
    values: list[Any] = ["x", "5", "", 5, -1, 2.5, True, None, "2013-06-01T12:00:00Z", 'ü{[:"\\', {}, [1], 10**30]
    own: dict[str, list[Any]] = {
        "name": ["x", 'a"b'],
        "at": ["2013-06-01T12:00:00Z"],
        "count": [7],
        "ratio": [1.5],
        "is_new": [False],
    }
    names = chance.sample(list(own), chance.randint(0, 5)) + chance.choices(["other", "name"], k=chance.random() < 0.2)
    members = []
    for name in names:
        value = chance.choice(own[name] if name in own and chance.random() < 0.85 else values)
        members.append(f"{json.dumps(name)}{chance.choice(['', ' '])}:{json.dumps(value, ensure_ascii=chance.random() < 0.5)}")
    text = bytearray(("{" + ",".join(members) + "}").encode())
    if chance.random() < 0.3:
        at = chance.randrange(len(text))
        text[at : at + chance.randint(0, 1)] = bytes(chance.choices(b'{}[]",:\\0eu \xff\x00', k=chance.randint(0, 2)))
    return bytes(text)
