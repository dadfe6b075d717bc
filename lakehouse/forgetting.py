"""Forget a person: destroy their keys, and look in every place where their data lies that it cannot be read any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from deltalake import DeltaTable

from lakehouse.catalog import Catalog, TableSpec
from lakehouse.clients import postgres_dsn
from lakehouse.control import Control
from lakehouse.errors import UnknownNameError
from lakehouse.livetables import live_tables
from lakehouse.security.audit import Audit
from lakehouse.security.keyring import Keyring, SubjectKey
from lakehouse.security.pii import payload_place, place
from lakehouse.serving.hot import hot
from lakehouse.serving.sandbox import quoted, sandbox
from lakehouse.serving.tables import Source, lake, lake_locator
from lakehouse.settings import Settings
from lakehouse.sources.kafka import Extent, extents
from lakehouse.storage.hot import column_names
from lakehouse.workspace import Workspace


@dataclass(frozen=True)
class Trace:
    """What is left of a person in one place.

    Attributes:
        place: A table, or a topic.
        found: Rows or records that were theirs; of a topic: all that it holds, for nobody can say whose they are.
        readable: How many of those can still be read.
    """

    place: str
    found: int
    readable: int


@dataclass(frozen=True)
class Forgotten:
    """What came of it.

    Attributes:
        keys: What was destroyed.
        traces: What is left in the tables.
        topics: Topics that still hold what was sent, for as long as they keep it.
    """

    keys: Sequence[SubjectKey]
    traces: Sequence[Trace]
    topics: Sequence[Trace]


def forget(
    workspace: Workspace, settings: Settings, control: Control, audit: Audit, subject: str, tenant: str | None = None
) -> Forgotten:
    """Destroy a person's keys, and look everywhere whether anything of theirs can still be read.

    Args:
        workspace: Whose feeds.
        settings: Where the servers are.
        control: Where keys are.
        audit: Where it is written down, first that it begins, then what was found.
        subject: What the feeds know the person by.
        tenant: At which tenant; at all of them when left out.

    Raises:
        KeyringError: The keys cannot be used.
        UnknownNameError: Nobody of that name has a key.
    """
    keyring = Keyring(workspace, settings, control)
    keys = keyring.find(subject, tenant)
    if not keys:
        raise UnknownNameError(f"Nobody is known by that name{f' at {tenant}' if tenant else ''}, so there is no key to destroy.")
    ids = [key.id for key in keys]
    audit.record({"kind": "forget", "keys": ids, "outcome": "begun"})
    keyring.destroy(keys)
    catalog = Catalog.load(workspace)
    traces = list(_traces(workspace, settings, catalog, keyring, ids))
    topics = [bronze.source.topic for bronze in _personal_feeds(catalog) if bronze.source]
    held = [Trace(name, held, held) for name, extent in extents(settings, topics).items() if (held := _records(extent))]
    audit.record({"kind": "forget", "keys": ids, "outcome": "done", "places": {x.place: [x.found, x.readable] for x in traces}})
    return Forgotten(keys, traces, held)


def _traces(workspace: Workspace, settings: Settings, catalog: Catalog, keyring: Keyring, ids: Sequence[str]) -> Iterator[Trace]:
    locate = lake_locator(settings)
    open_lake, open_hot = lake(locate), hot(settings)
    for bronze in _personal_feeds(catalog):
        where = payload_place(bronze.name, "value")
        for name in (bronze.full_name, f"dead_letters.{bronze.name}"):
            if _is_there(settings, name):
                rows = _rows(open_lake(name, None), ["payload_key_id", "value"], "payload_key_id", ids)
                yield Trace(name, len(rows), sum(keyring.unseal(value, key, where) is not None for key, value in rows if value))
    sealed = {name: place(x.full_name, name) for x in catalog if x.personal for name in x.personal.sealed}
    tables = [x.full_name for x in catalog if x.layer in ("silver", "gold") and _is_there(settings, x.full_name)]
    live = [x.full_name for x in live_tables(workspace, catalog).values() if _is_hot(settings, x.name)]
    for name in [*tables, *live]:
        source: Source = (open_hot if name in live else open_lake)(name, None)
        columns = [column for column in source.columns if column in sealed]
        found = readable = 0
        for column in columns:
            values = [value for (value,) in _rows(source, [column], f"split_part({quoted(column)}, '.', 1)", ids)]
            found = max(found, len(values))
            readable = max(readable, sum(x is not None for x in keyring.reveal(values, sealed[column])))
        if columns:
            yield Trace(name, found, readable)


def _personal_feeds(catalog: Catalog) -> list[TableSpec]:
    return [x for x in catalog.layer("bronze") if catalog.ingest(x.name).personal]


def _rows(source: Source, columns: Sequence[str], key: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows that belong to some keys; ``key`` is SQL of ours that says which key a row belongs to."""
    with sandbox() as connection:
        connection.register("source", source.scan(columns, []))
        shown = ", ".join(map(quoted, columns))
        text = f"SELECT {shown} FROM source WHERE {key} IN (SELECT unnest($1))"  # noqa: S608  # names are quoted, values are parameters
        return connection.execute(text, [list(ids)]).fetchall()


def _is_there(settings: Settings, name: str) -> bool:
    location = lake_locator(settings)(name)
    return bool(DeltaTable.is_deltatable(location.uri, dict(location.options)))


def _is_hot(settings: Settings, name: str) -> bool:
    with psycopg.connect(postgres_dsn(settings), connect_timeout=5) as connection:
        return bool(column_names(connection, name))


def _records(extent: Extent) -> int:
    return sum(end - extent.begin[partition] for partition, end in extent.end.items())
