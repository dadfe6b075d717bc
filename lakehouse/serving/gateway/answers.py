"""Answers as clients take them: JSON, CSV, an Arrow IPC stream, Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.serving.query import QueryResult, plain


def _json(result: QueryResult) -> bytes:
    return orjson.dumps(result.document(_whole), default=str)


def _csv(result: QueryResult) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(result.columns)
    writer.writerows([[_cell(value) for value in row] for row in result.rows()])
    return text.getvalue().encode()


def arrow_stream(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream, with what its schema says beside its columns."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _parquet(result: QueryResult) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(result.table), sink)
    return sink.getvalue()


FORMATS: Mapping[str, tuple[str, Callable[[QueryResult], bytes]]] = {
    "json": ("application/json", _json),
    "csv": ("text/csv; charset=utf-8", _csv),
    "arrow": ("application/vnd.apache.arrow.stream", lambda result: arrow_stream(pa.table(result.table))),
    "parquet": ("application/vnd.apache.parquet", _parquet),
}
"""Format → its media type, and what writes it."""


def _cell(value: Any) -> Any:
    found = plain(value, _whole)
    return "" if found is None else orjson.dumps(found, default=str).decode() if isinstance(found, list | dict | bool) else found


def _whole(value: int) -> int | str:
    """Return a number as one where 64 bits hold it: the writer of JSON knows no larger one."""
    return value if -(2**63) <= value < 2**64 else str(value)
