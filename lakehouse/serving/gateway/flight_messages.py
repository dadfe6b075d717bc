"""The messages of Arrow Flight SQL that the gateway understands; pyarrow brings Flight, but not these.

Source: Apache Arrow, ``format/FlightSql.proto``, package ``arrow.flight.protocol.sql``.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from lakehouse.errors import QueryRefusedError

_PACKAGE = "arrow.flight.protocol.sql"
_TEXT, _BYTES, _BOOL, _UINT32 = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_BOOL,
    FieldDescriptorProto.TYPE_UINT32,
)
_MANY = FieldDescriptorProto.LABEL_REPEATED

# Message → its fields, numbered from 1: name and type; the names of lists end with a plus sign.
_MESSAGES: dict[str, list[tuple[str, FieldDescriptorProto.Type.ValueType]]] = {
    "CommandStatementQuery": [("query", _TEXT), ("transaction_id", _BYTES)],
    "TicketStatementQuery": [("statement_handle", _BYTES)],
    "CommandPreparedStatementQuery": [("prepared_statement_handle", _BYTES)],
    "DoPutPreparedStatementResult": [("prepared_statement_handle", _BYTES)],
    "ActionCreatePreparedStatementRequest": [("query", _TEXT), ("transaction_id", _BYTES)],
    "ActionCreatePreparedStatementResult": [
        ("prepared_statement_handle", _BYTES),
        ("dataset_schema", _BYTES),
        ("parameter_schema", _BYTES),
    ],
    "ActionClosePreparedStatementRequest": [("prepared_statement_handle", _BYTES)],
    "CommandGetSqlInfo": [("info+", _UINT32)],
    "CommandGetCatalogs": [],
    "CommandGetDbSchemas": [("catalog", _TEXT), ("db_schema_filter_pattern", _TEXT)],
    "CommandGetTables": [
        ("catalog", _TEXT),
        ("db_schema_filter_pattern", _TEXT),
        ("table_name_filter_pattern", _TEXT),
        ("table_types+", _TEXT),
        ("include_schema", _BOOL),
    ],
    "CommandGetTableTypes": [],
    "CommandGetPrimaryKeys": [("catalog", _TEXT), ("db_schema", _TEXT), ("table", _TEXT)],
}


def _classes() -> dict[str, type[Message]]:
    file = FileDescriptorProto(name="flight_sql.proto", package=_PACKAGE, syntax="proto2")  # where a field may be left out
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            label = _MANY if field.endswith("+") else FieldDescriptorProto.LABEL_OPTIONAL
            message.field.add(name=field.rstrip("+"), number=number, type=kind, label=label)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_CLASSES = _classes()


def unpack(packed: bytes) -> tuple[str, Any]:
    """Return the name of a message that came, and the message.

    Raises:
        QueryRefusedError: It is none of these.
    """
    envelope = AnyMessage()
    try:
        envelope.ParseFromString(packed)
        package, _, name = envelope.type_url.rpartition("/")[2].rpartition(".")
        if package == _PACKAGE and name in _CLASSES:
            return name, _CLASSES[name].FromString(envelope.value)
    except DecodeError as error:
        raise QueryRefusedError("That is no message of Flight SQL.") from error
    raise QueryRefusedError(f"The gateway only answers SELECT, and this is {name[:60] or 'nothing of Flight SQL'}.")


def plain(name: str, **fields: Any) -> bytes:
    """Return a message as it is sent where its kind is known."""
    return _CLASSES[name](**fields).SerializeToString()


def pack(name: str, **fields: Any) -> bytes:
    """Return a message as it is sent where it says of what kind it is."""
    envelope = AnyMessage(type_url=f"type.googleapis.com/{_PACKAGE}.{name}", value=plain(name, **fields))
    return envelope.SerializeToString()
