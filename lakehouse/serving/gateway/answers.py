"""Answers as clients take them: JSON, CSV, an Arrow IPC stream, Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.serving.query import QueryResult


def _json(result: QueryResult) -> bytes:
    return orjson.dumps(
        {
            "columns": result.columns,
            "types": result.types,
            "rows": [[plain(value) for value in row] for row in result.rows()],
            "truncated": result.truncated,
            "versions": result.versions,
            "seconds": round(result.seconds, 3),
        }
    )


def _csv(result: QueryResult) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(result.columns)
    writer.writerows([[_cell(value) for value in row] for row in result.rows()])
    return text.getvalue().encode()


def _arrow(result: QueryResult) -> bytes:
    table, sink = pa.table(result.table), io.BytesIO()
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
    "arrow": ("application/vnd.apache.arrow.stream", _arrow),
    "parquet": ("application/vnd.apache.parquet", _parquet),
}
"""Format → its media type, and what writes it."""


def plain(value: Any) -> Any:
    """Return what JSON knows: numbers stay numbers, NaN and infinities are null, bytes are hex, times are ISO 8601."""
    match value:
        case float():
            return value if isfinite(value) else None
        case int() if not -(2**63) <= value < 2**64:
            return str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case bytes():
            return value.hex()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case None | bool() | int() | str():
            return value
    return str(value)


def _cell(value: Any) -> Any:
    found = plain(value)
    return "" if found is None else orjson.dumps(found).decode() if isinstance(found, list | dict | bool) else found
