"""The account: where each record of a feed is, counted from the tables themselves.

Every Kafka record (topic id, partition, offset) is in exactly one of silver, dead letters, duplicates, or in flight.
:func:`account` counts each term on its own; :func:`verify` goes through the offsets and names every record that is in no place, in
two, or where it cannot be proved. Neither needs Spark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from lakehouse.catalog import Catalog
from lakehouse.control import Control
from lakehouse.lanes.epoch import Epochs
from lakehouse.serving.tables import DeltaSource, Location, Scan, lake_locator
from lakehouse.settings import Settings
from lakehouse.sources.kafka import extents, first_offset_from, topic_id
from lakehouse.storage.objects import Objects

Locate = Callable[[str], Location]
_SHOWN = 20


@dataclass(frozen=True)
class FeedAccount:
    """The account of one feed, in records.

    Attributes:
        feed: Its name.
        read: Rows of bronze.
        silver: Rows of the ingest table.
        dead_letters: Rows of the feed's dead letters.
        duplicates: Rows of the feed's duplicates.
        in_flight: Records that the topic holds behind the last offset that silver has decided on.
        reasons: Dead letters by reason; a record with two reasons counts for both.
    """

    feed: str
    read: int
    silver: int
    dead_letters: int
    duplicates: int
    in_flight: int
    reasons: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the account for a script."""
        return asdict(self)


@dataclass(frozen=True)
class Violation:
    """Records that break the account.

    Attributes:
        kind: What is wrong: ``in no place``, ``in two places``, ``not in bronze``, ``twice in bronze``, ``gap`` or
            ``unproven duplicate``.
        records: How many.
        examples: The first of them, as ``partition:offset``.
    """

    kind: str
    records: int
    examples: list[str]


def account(settings: Settings, catalog: Catalog, control: Control, feed: str) -> FeedAccount:
    """Count a feed's records, each term on its own.

    Raises:
        UnknownNameError: No such feed.
    """
    locate = lake_locator(settings)
    spec = catalog.ingest(feed)
    with _database(locate, {"dead": f"dead_letters.{feed}"}) as (database, there):
        reasons: dict[str, int] = {}
        if "dead" in there:
            rows = database.execute(
                "SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM dead) GROUP BY 1 ORDER BY 2 DESC"
            )
            reasons = dict(rows.fetchall())
    return FeedAccount(
        feed=feed,
        read=count_rows(locate(f"bronze.{feed}")),
        silver=count_rows(locate(spec.full_name)),
        dead_letters=count_rows(locate(f"dead_letters.{feed}")),
        duplicates=count_rows(locate(f"duplicates.{feed}")),
        in_flight=_in_flight(settings, catalog, control, feed),
        reasons=reasons,
    )


def count_rows(location: Location) -> int:
    """Return how many rows a table has, from its log alone; 0 when it is not there."""
    try:
        table = DeltaTable(location.uri, storage_options=dict(location.options) or None)
    except TableNotFoundError:
        return 0
    return sum(table.get_add_actions(flatten=True).column("num_records").to_pylist())


def verify(settings: Settings, catalog: Catalog, control: Control, feed: str) -> list[Violation]:
    """Prove the account of a feed offset by offset; returns what breaks it, nothing when it holds.

    Raises:
        UnknownNameError: No such feed.
    """
    locate = lake_locator(settings)
    spec = catalog.ingest(feed)
    names = {
        "bronze": f"bronze.{feed}",
        "silver": spec.full_name,
        "dead": f"dead_letters.{feed}",
        "duplicate": f"duplicates.{feed}",
    }
    with _database(locate, names) as (database, there):
        if "bronze" not in there:
            return []
        _load(database, there)
        found = [
            *_two_places(database),
            *_no_place(database, positions(control, spec.full_name)),
            *_select(database, "not in bronze", "FROM place ANTI JOIN bronze USING (topic_id, partition, position)"),
            *_select(database, "twice in bronze", "FROM bronze GROUP BY topic_id, partition, position HAVING count(*) > 1"),
            *_gaps(database, settings, catalog, feed),
        ]
        if {"duplicate", "silver"} <= set(there):
            found += _unproven(database, spec.keys)
    return [violation for violation in found if violation.records]


def positions(control: Control, table: str) -> dict[str, dict[int, int]]:
    """Return how far an ingest table has decided: topic id → partition → the first offset that it has not."""
    found: dict[str, dict[int, int]] = {}
    rows = control.run(
        "SELECT t.key AS topic_id, p.key AS partition, max(p.value::text::bigint) AS next FROM tidemill.batch, "
        "jsonb_each(detail->'positions') t, jsonb_each(t.value) p WHERE \"table\" = %s GROUP BY 1, 2",
        (table,),
    )
    for row in rows:
        found.setdefault(row["topic_id"], {})[int(row["partition"])] = row["next"]
    return found


def _in_flight(settings: Settings, catalog: Catalog, control: Control, feed: str) -> int:
    source = catalog[f"bronze.{feed}"].source
    assert source is not None
    held = extents(settings, [source.topic]).get(source.topic)
    if held is None:
        return 0
    decided = positions(control, catalog.ingest(feed).full_name).get(held.topic_id, {})
    # What has expired is not in flight: the topic does not hold it any more.
    return sum(max(0, end - max(held.begin[number], decided.get(number, 0))) for number, end in held.end.items())


@contextmanager
def _database(locate: Locate, names: dict[str, str]) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, Scan]]]:
    """Open DuckDB with the columns of the account of those tables that are there."""
    wanted = {
        "bronze": ["topic_id", "partition", "offset"],
        "dead": ["topic_id", "partition", "offset", "reasons"],
    }
    there: dict[str, Scan] = {}
    database = duckdb.connect(config={"enable_external_access": "false"})
    try:
        for view, name in names.items():
            location = locate(name)
            try:
                table = DeltaTable(location.uri, storage_options=dict(location.options) or None)
            except TableNotFoundError:
                continue
            columns = wanted.get(view) or [f.name for f in table.schema().fields if view == "duplicate" or _counts(f.name)]
            there[view] = DeltaSource(table).scan(columns, ())
            database.register(view if view == "dead" else f"{view}_rows", there[view])
        yield database, there
    finally:
        database.close()


def _counts(column: str) -> bool:
    return column not in {"_timestamp"}


def _load(database: duckdb.DuckDBPyConnection, there: dict[str, Scan]) -> None:
    """Bring the positions into tables of DuckDB: each file is read once, whatever is asked of it afterwards."""
    database.execute('CREATE TABLE bronze AS SELECT topic_id, partition, "offset" AS position FROM bronze_rows')
    database.execute("CREATE TABLE place (topic_id VARCHAR, partition INTEGER, position BIGINT, place VARCHAR)")
    selects = {
        "silver": "_topic_id, _partition, _offset, 'silver' FROM silver_rows",
        "dead": "topic_id, partition, \"offset\", 'dead letters' FROM dead",
        "duplicate": "topic_id, partition, \"offset\", 'duplicates' FROM duplicate_rows",
    }
    for view, select in selects.items():
        if view in there:
            database.execute(f"INSERT INTO place SELECT {select}")


def _select(database: duckdb.DuckDBPyConnection, kind: str, rest: str) -> list[Violation]:
    """Count the positions that a FROM clause of ours yields, and name the first ones."""
    rows = database.execute(f"SELECT partition, position {rest}").fetchall()
    examples = [f"{partition}:{offset}" for partition, offset in sorted(rows)[:_SHOWN]]
    return [Violation(kind, len(rows), examples)]


def _two_places(database: duckdb.DuckDBPyConnection) -> list[Violation]:
    return _select(database, "in two places", "FROM place GROUP BY topic_id, partition, position HAVING count(*) > 1")


def _no_place(database: duckdb.DuckDBPyConnection, decided: dict[str, dict[int, int]]) -> list[Violation]:
    """Find records of bronze that are nowhere although silver has gone past them; those behind it are in flight."""
    database.execute("CREATE TABLE decided (topic_id VARCHAR, partition INTEGER, next BIGINT)")
    for topic, partitions in decided.items():
        for partition, following in partitions.items():
            database.execute("INSERT INTO decided VALUES (?, ?, ?)", (topic, partition, following))
    return _select(
        database,
        "in no place",
        "FROM (FROM bronze ANTI JOIN place USING (topic_id, partition, position)) JOIN decided USING (topic_id, partition) "
        "WHERE position < next",
    )


def _gaps(database: duckdb.DuckDBPyConnection, settings: Settings, catalog: Catalog, feed: str) -> list[Violation]:
    """Find offsets that bronze jumps over although the topic has, or may have had, records there."""
    source = catalog[f"bronze.{feed}"].source
    assert source is not None
    now = topic_id(settings, source.topic)
    lost = Epochs(Objects(settings)).get(f"bronze.{feed}").lost
    rows = database.execute(
        "SELECT topic_id, partition, previous + 1, position FROM (SELECT *, lag(position, 1, -1) OVER "
        "(PARTITION BY topic_id, partition ORDER BY position) AS previous FROM bronze) WHERE position > previous + 1"
    ).fetchall()
    missing, examples = 0, []
    for topic, partition, start, end in rows:
        if any(x["topic_id"] == topic and x["until"].get(str(partition), -1) == end for x in lost):
            continue  # accepted by an operator
        if topic == now:  # transaction markers and compacted records are gaps that hold nothing
            following = first_offset_from(settings, source.topic, partition, start)
            if following is not None and following >= end:
                continue
        missing += end - start
        examples.append(f"{partition}:{start}–{end - 1}")
    return [Violation("gap", missing, examples[:_SHOWN])]


def _unproven(database: duckdb.DuckDBPyConnection, keys: tuple[str, ...]) -> list[Violation]:
    """Find duplicates whose key does not stand in silver under the offset that they name, or that name themselves."""
    same = " AND ".join(f's."{key}" IS NOT DISTINCT FROM d."{key}"' for key in keys)
    unlike = "(d.kept_topic_id, d.kept_partition, d.kept_offset)"
    joined = (
        "duplicate_rows d LEFT JOIN silver_rows s ON s._topic_id = d.kept_topic_id AND s._partition = d.kept_partition "
        f"AND s._offset = d.kept_offset AND {same}"
    )
    wrong = f's._offset IS NULL OR (d.topic_id, d.partition, d."offset") = {unlike}'
    return _select(
        database, "unproven duplicate", f'FROM (SELECT d.partition, d."offset" AS position FROM {joined} WHERE {wrong})'
    )
