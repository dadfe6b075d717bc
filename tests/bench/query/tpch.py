"""TPC-H: its tables as Delta on S3, what the auditor may see of them physically cut out, and its 22 queries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from math import isclose
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from lakehouse.clients import delta_rs
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from .people import NATIONS

TABLES = ("region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem")
QUERIES = tuple(f"q{number:02}" for number in range(1, 23))

FROM_DAY = "1993-01-01"
"""The auditor sees orders and their lines from here on."""

_HERE = Path(__file__).parent
_FRACTION = 0.0001  # of Q11, at scale factor 1


def text(query: str, scale: float) -> str:
    """Return a query of the specification with its validation parameters, as DuckDB and Spark both read it."""
    return (_HERE / "tpch" / f"{query}.sql").read_text().replace("{fraction}", f"{_FRACTION / scale:.10f}")


def where(table: str) -> str:
    """Return which rows of a table the auditor sees, as SQL of DuckDB and Spark; the policy says the same in its own way."""
    seen = {
        "lineitem": f"l_shipdate >= date '{FROM_DAY}'",
        "orders": f"o_orderdate >= date '{FROM_DAY}'",
        "customer": f"c_nationkey < {NATIONS}",
    }
    return seen.get(table, "true")


def values(table: str, columns: list[str]) -> str:
    """Return what the auditor sees in the columns of a table, likewise."""
    stars = "repeat('*', length({0}) - {1})"
    masked = {
        "c_name": f"concat({stars.format('c_name', 4)}, right(c_name, 4))",
        "c_address": "cast(null as varchar(40))",
        "c_phone": f"concat(left(c_phone, 2), {stars.format('c_phone', 4)}, right(c_phone, 2))",
    }
    return ", ".join(f"{masked[name]} AS {name}" if name in masked else name for name in columns)


def generate(workspace: Workspace, scale: float) -> None:
    """Make the tables as files of the workspace, and beside them what the auditor sees, cut out and masked."""
    whole, seen = folders(workspace)
    program = Path(sys.executable).with_name("tpchgen-cli")
    command = [str(program), "parquet", "--scale-factor", str(scale), "--output-dir", str(whole), "--quiet"]
    subprocess.run(command, check=True, capture_output=True)
    seen.mkdir()
    with duckdb.connect() as connection:
        for table in TABLES:
            columns = pq.read_schema(whole / f"{table}.parquet").names
            connection.execute(
                f"COPY (SELECT {values(table, columns)} FROM '{whole}/{table}.parquet' WHERE {where(table)}) "
                f"TO '{seen}/{table}.parquet'"
            )


def load(workspace: Workspace, settings: Settings) -> None:
    """Write the tables of both folders as Delta to S3: ``reference/`` and ``seen/``."""
    whole, seen = folders(workspace)
    for folder, files in (("reference", whole), ("seen", seen)):
        for table in TABLES:
            with pq.ParquetFile(files / f"{table}.parquet") as file:
                schema = pa.schema([pa.field(x.name, _plain(x.type)) for x in file.schema_arrow])
                batches: Iterator[Any] = (batch.cast(schema) for batch in file.iter_batches(200_000))
                data = pa.RecordBatchReader.from_batches(schema, batches)
                write_deltalake(uri(settings, folder, table), data, storage_options=delta_rs(settings))


def uri(settings: Settings, folder: str, table: str) -> str:
    """Return where a table lies."""
    return f"s3://{settings.s3.bucket}/{folder}/{table}"


def folders(workspace: Workspace) -> tuple[Path, Path]:
    """Return where the tables are as files, and what the auditor sees of them."""
    return workspace.root / "tpch", workspace.root / "tpch-seen"


Rows = list[list[Any]]
"""An answer, of texts, whole and other numbers, and nulls."""


def same(ours: Rows, theirs: Rows, tolerance: float = 1e-9) -> bool:
    """Say whether two answers hold the same rows, but for the last digits of numbers and the order of ties."""
    if len(ours) != len(theirs):
        return False
    pairs = zip(sorted(ours, key=_order), sorted(theirs, key=_order), strict=True)
    return all(len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b, strict=True)) for a, b in pairs)


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return isclose(a, b, rel_tol=tolerance)
    return bool(a == b)


def _order(row: list[Any]) -> tuple[str, ...]:
    # Texts and whole numbers first: others may differ in their last digits, and put rows in another order.
    exact = [f"{value}" for value in row if not isinstance(value, float)]
    return (*exact, *[f"{value:.5e}" for value in row if isinstance(value, float)])


def _plain(kind: Any) -> Any:
    return pa.string() if kind == pa.string_view() else kind
