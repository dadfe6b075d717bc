"""What database clients ask before they ask for data: which schemas, tables and columns there are, and what the server can do.

Source: Apache Arrow, ``format/FlightSql.proto``: the columns of each answer, and the numbers of :data:`_INFO`.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from lakehouse.errors import QueryRefusedError
from lakehouse.security.users import User
from lakehouse.serving.gateway.gateway import Gateway

_TABLE = "TABLE"
_SCHEMAS = {
    "CommandGetCatalogs": pa.schema([pa.field("catalog_name", pa.string(), nullable=False)]),
    "CommandGetDbSchemas": pa.schema([("catalog_name", pa.string()), pa.field("db_schema_name", pa.string(), nullable=False)]),
    "CommandGetTableTypes": pa.schema([pa.field("table_type", pa.string(), nullable=False)]),
    "CommandGetTables": pa.schema(
        [
            ("catalog_name", pa.string()),
            ("db_schema_name", pa.string()),
            pa.field("table_name", pa.string(), nullable=False),
            pa.field("table_type", pa.string(), nullable=False),
        ]
    ),
    "CommandGetPrimaryKeys": pa.schema(
        [
            ("catalog_name", pa.string()),
            ("db_schema_name", pa.string()),
            pa.field("table_name", pa.string(), nullable=False),
            pa.field("column_name", pa.string(), nullable=False),
            ("key_name", pa.string()),
            pa.field("key_sequence", pa.int32(), nullable=False),
        ]
    ),
    "CommandGetSqlInfo": pa.schema(
        [
            pa.field("info_name", pa.uint32(), nullable=False),
            pa.field(
                "value",
                pa.dense_union(
                    [
                        pa.field("string_value", pa.string()),
                        pa.field("bool_value", pa.bool_()),
                        pa.field("bigint_value", pa.int64()),
                        pa.field("int32_bitmask", pa.int32()),
                        pa.field("string_list", pa.list_(pa.string())),
                        pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32()))),
                    ]
                ),
                nullable=False,
            ),
        ]
    ),
}
_INFO: dict[int, str | bool | int] = {
    0: "Tidemill",  # FLIGHT_SQL_SERVER_NAME
    1: version("tidemill"),  # FLIGHT_SQL_SERVER_VERSION
    2: pa.__version__,  # FLIGHT_SQL_SERVER_ARROW_VERSION
    3: True,  # FLIGHT_SQL_SERVER_READ_ONLY
    4: True,  # FLIGHT_SQL_SERVER_SQL
    5: False,  # FLIGHT_SQL_SERVER_SUBSTRAIT
    8: 0,  # FLIGHT_SQL_SERVER_TRANSACTION: none
    504: '"',  # SQL_IDENTIFIER_QUOTE_CHAR
}


def schema(name: str, message: Any) -> pa.Schema:
    """Return the columns of the answer to a command.

    Raises:
        QueryRefusedError: It is no question of this kind.
    """
    if name not in _SCHEMAS:
        raise QueryRefusedError(f"The gateway only answers SELECT, and this is {name}.")
    if name == "CommandGetTables" and message.include_schema:
        return _SCHEMAS[name].append(pa.field("table_schema", pa.binary(), nullable=False))
    return _SCHEMAS[name]


def answer(name: str, message: Any, gateway: Gateway, user: User, purpose: str | None) -> pa.Table:
    """Return what is there for this user.

    Raises:
        QueryRefusedError: It is no question of this kind.
        TidemillError: A table cannot be read.
    """
    columns = schema(name, message)
    match name:
        case "CommandGetSqlInfo":
            return _info(columns, list(message.info))
        case "CommandGetTableTypes":
            rows = [{"table_type": _TABLE}]
        case "CommandGetDbSchemas":
            wanted = _like(message, "db_schema_filter_pattern")
            layers = sorted({table.partition(".")[0] for table in gateway.views(user, purpose)})
            rows = [{"db_schema_name": layer} for layer in layers if wanted.fullmatch(layer)]
        case "CommandGetTables":
            rows = _tables(message, gateway, user, purpose)
        case _:  # there are no catalogs, and no keys that are declared to users
            rows = []
    if getattr(message, "catalog", ""):
        rows = []
    return pa.Table.from_pylist(rows, columns)


def _tables(message: Any, gateway: Gateway, user: User, purpose: str | None) -> list[dict[str, Any]]:
    layers, names = _like(message, "db_schema_filter_pattern"), _like(message, "table_name_filter_pattern")
    rows: list[dict[str, Any]] = []
    for table in sorted(gateway.views(user, purpose)):
        layer, _, name = table.partition(".")
        if (
            not layers.fullmatch(layer)
            or not names.fullmatch(name)
            or (message.table_types and _TABLE not in message.table_types)
        ):
            continue
        row: dict[str, Any] = {"db_schema_name": layer, "table_name": name, "table_type": _TABLE}
        if message.include_schema:
            _, source = gateway.table(user, table, purpose)
            row["table_schema"] = pa.schema(source.scan(source.columns, ())).serialize().to_pybytes()
        rows.append(row)
    return rows


def _info(columns: pa.Schema, wanted: list[int]) -> pa.Table:
    found = {number: value for number, value in _INFO.items() if not wanted or number in wanted}
    kinds = [str, bool, int]
    union = columns.field("value").type
    children = [pa.array([x for x in found.values() if type(x) is kind], union.field(n).type) for n, kind in enumerate(kinds)]
    children += [pa.array([], union.field(n).type) for n in range(len(kinds), union.num_fields)]
    types = [kinds.index(type(x)) for x in found.values()]
    offsets = [types[:n].count(kind) for n, kind in enumerate(types)]
    values = pa.UnionArray.from_dense(
        pa.array(types, pa.int8()),
        pa.array(offsets, pa.int32()),
        children,
        [union.field(n).name for n in range(union.num_fields)],
    )
    return pa.Table.from_arrays([pa.array(found, pa.uint32()), values], schema=columns)


def _like(message: Any, field: str) -> re.Pattern[str]:
    """Return the pattern of a field as one that Python knows; a field that is not there matches all."""
    if not message.HasField(field):
        return re.compile(".*", re.DOTALL)
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in getattr(message, field))
    return re.compile("".join(parts), re.DOTALL)
