"""One that answers the 22 queries in a process of its own: ``python -m bench.query.asker NAME WORKSPACE SCALE``.

Each line on standard input asks for all of them once. What each took, and its rows, is said in one line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from lakehouse.clients import delta_rs
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from ..lines import hear, say
from .tpch import QUERIES, TABLES, text, uri, values, where

Ask = Callable[[str], list[tuple[Any, ...]]]


@contextmanager
def _gateway(workspace: Workspace) -> Iterator[Ask]:
    """The gateway, asked by the auditor."""
    from lakehouse.serving.gateway.client import Client

    with Client.of(workspace, "auditor") as client:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            columns = [column.to_pylist() for column in client.arrow(sql).columns]
            return list(zip(*columns, strict=True))

        yield ask


@contextmanager
def _dataset(workspace: Workspace) -> Iterator[Ask]:
    """DuckDB over what the auditor sees, as delta-rs's documentation shows it: datasets that DuckDB pushes filters into."""
    import duckdb
    from deltalake import DeltaTable

    settings = Settings.load(workspace)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect() as connection:
            for table in TABLES:
                there = DeltaTable(uri(settings, "seen", table), storage_options=delta_rs(settings))
                connection.register(table, there.to_pyarrow_dataset())
            return connection.execute(sql).fetchall()

    yield ask


@contextmanager
def _stream(workspace: Workspace) -> Iterator[Ask]:
    """The reader and the engine that the gateway has, over what the auditor sees, and nothing of the gateway."""
    from lakehouse.serving.query import run_query
    from lakehouse.serving.tables import Location

    settings = Settings.load(workspace)
    names = [f"reference.{table}" for table in TABLES]

    def locate(name: str) -> Location:
        return Location(uri(settings, "seen", name.partition(".")[2]), delta_rs(settings))

    yield lambda sql: run_query(sql, names, locate, limit=1_000_000).rows()


@contextmanager
def _local(workspace: Workspace) -> Iterator[Ask]:
    """DuckDB over what the auditor sees, as its own reader finds it in Parquet files on the local disk."""
    import duckdb

    from .tpch import folders

    _, seen = folders(workspace)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect() as connection:
            for table in TABLES:
                connection.execute(f"CREATE VIEW {table} AS FROM '{seen}/{table}.parquet'")
            return connection.execute(sql).fetchall()

    yield ask


@contextmanager
def _spark(workspace: Workspace) -> Iterator[Ask]:
    """Spark SQL over the same tables as the gateway, with views that show what the policy shows."""
    from lakehouse.session import build_session

    settings = Settings.load(workspace)
    spark = build_session(settings, "bench_query", scratch=workspace.state / "bench_query")
    try:
        for table in TABLES:
            whole = spark.read.format("delta").load(f"{settings.lake_uri}/reference/{table}")
            whole.createOrReplaceTempView("whole")
            spark.sql(f"SELECT {values(table, whole.columns)} FROM whole WHERE {where(table)}").createOrReplaceTempView(table)
        yield lambda sql: [tuple(row) for row in spark.sql(sql).collect()]
    finally:
        spark.stop()


ASKERS = {"gateway": _gateway, "dataset": _dataset, "stream": _stream, "local": _local, "spark": _spark}


def main(name: str, root: str, scale: str) -> None:
    """Answer until standard input ends."""
    with ASKERS[name](Workspace.load(Path(root))) as ask:
        say("ready")
        with suppress(EOFError):
            while True:
                hear()
                seconds, rows = {}, {}
                for query in QUERIES:
                    began = time.perf_counter()
                    found = ask(text(query, float(scale)))
                    seconds[query] = time.perf_counter() - began
                    rows[query] = [[_plain(value) for value in row] for row in found]
                say("answered", seconds=seconds, rows=rows)


def _plain(value: Any) -> Any:
    return (
        float(value) if isinstance(value, Decimal) else value if isinstance(value, int | float) or value is None else str(value)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
