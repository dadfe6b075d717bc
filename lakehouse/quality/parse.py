"""From bytes to typed fields, with a verdict on every record, by expressions that both lanes can use.

``from_json`` alone lets too much pass: it replaces invalid UTF-8, reads the first object and ignores what follows, takes a number
for a string, and turns 1e999 into infinity. A check of everything on every record would cost more than the parse itself, so there
are two paths. The fast one proves a record good by counting what stands in it (``JsonShape``): it is one flat object; as many of
its members are not null as fields are filled, so nothing that has a value is undeclared; as many are strings as fields that need
strings, so none was written without quotation marks. A record that the counts do not prove is a suspect: it is looked at field by
field, as a Variant.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DataType,
    DateType,
    DoubleType,
    FloatType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from lakehouse.catalog import Json
from lakehouse.errors import DeclarationError

_CORRUPT = "_corrupt"
_ROOT = "r"
_OPTIONS = {
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": _CORRUPT,
    "allowNonNumericNumbers": "false",
    "allowSingleQuotes": "false",
}
_REASONS = "array<string>"
SHAPE = "tidemill_json_shape"
"""Name of the function ``io.tidemill.JsonShape`` in every session."""

_BITS = 20  # of each of its counts
_QUOTED = (StringType, TimestampType, TimestampNTZType, DateType)


@dataclass(frozen=True)
class Parsed:
    """Expressions over a record's bytes.

    Attributes:
        root: STRUCT of the declared fields and ``_corrupt``; select it first, under the name :attr:`alias`.
        alias: The name that the other expressions know the struct by.
        fields: The declared fields, as columns of the struct.
        shape: BIGINT, what stands in the record's object; select it beside the struct, under ``shape_alias``.
        shape_alias: The name that the other expressions know the shape by.
        suspect: BOOLEAN, never null: the counts do not prove the record good.
        reasons: ARRAY<STRING>, why a suspect record cannot be read; null when it can be after all. Costs more than the parse:
            select it for the suspects only.
        undeclared: ARRAY<STRING>, keys that no field was declared for; null when there are none.
    """

    root: Column
    alias: str
    fields: list[Column]
    shape: Column
    shape_alias: str
    suspect: Column
    reasons: Column
    undeclared: Column


def wire_schema(wire: Json) -> StructType:
    """Return the declared fields.

    Raises:
        DeclarationError: The DDL does not parse, or a field has a reserved name.
    """
    try:
        schema = StructType.fromDDL(wire.schema)
    except Exception as error:
        raise DeclarationError(f"The schema {wire.schema!r} is no Spark DDL: {error}") from error
    assert isinstance(schema, StructType)
    if reserved := [f.name for f in schema.fields if f.name.startswith("_")]:
        raise DeclarationError(f"Fields may not begin with an underscore, which names the columns of the lane: {reserved}.")
    return schema


def parse_json(value: Column, schema: StructType, *, alias: str = "_parsed") -> Parsed:
    """Build the expressions that read one JSON object from bytes.

    Args:
        value: BINARY; null is a tombstone.
        schema: The declared fields.
        alias: Name for the struct of parsed fields; ``<alias>_shape`` names the shape.
    """
    text = value.cast("string")
    shape_alias = f"{alias}_shape"
    wrapper = StructType([StructField(_ROOT, schema), StructField(_CORRUPT, StringType())])
    wrapped = F.concat(F.lit(f'{{"{_ROOT}":'), text, F.lit("}"))
    root, shape = F.col(alias), F.col(shape_alias)
    members, present, quoted = (F.shiftright(shape, n * _BITS).bitwiseAND(F.lit((1 << _BITS) - 1)) for n in range(3))
    columns = {f.name: root[_ROOT][f.name] for f in schema.fields}

    filled = _sum([columns[f.name].isNotNull() for f in schema.fields])
    strings = _sum([columns[f.name].isNotNull() for f in schema.fields if isinstance(f.dataType, _QUOTED)])
    proven = F.is_valid_utf8(text) & root[_CORRUPT].isNull() & (shape >= 0) & (present == filled) & (quoted == strings)
    for f in schema.fields:
        if isinstance(f.dataType, DoubleType | FloatType):
            proven &= F.coalesce(F.abs(columns[f.name]) != F.lit(float("inf")), F.lit(True))
    # A record without a shape may be an object with nested values, and have undeclared fields as well.
    undeclared = F.when(
        (shape < 0) | (members > filled),
        F.nullif(F.array_except(F.json_object_keys(text), F.array(*[F.lit(n) for n in schema.names])), F.array().cast(_REASONS)),
    )
    return Parsed(
        root=F.from_json(wrapped, wrapper, _OPTIONS),
        alias=alias,
        fields=[columns[name].alias(name) for name in schema.names],
        shape=F.call_function(SHAPE, value),
        shape_alias=shape_alias,
        suspect=~F.coalesce(proven, F.lit(False)),
        reasons=_examine(value, schema, root),
        undeclared=undeclared,
    )


def _examine(value: Column, schema: StructType, root: Column) -> Column:
    """Return the reasons of a record that the counts did not prove good; null when it is good after all."""
    text = value.cast("string")
    keys = F.json_object_keys(text)
    variant = F.try_parse_json(text)
    is_object = F.coalesce(F.schema_of_variant(variant).startswith("OBJECT"), F.lit(False))
    types = {f.name: F.schema_of_variant(F.try_variant_get(variant, _json_path(f.name), "variant")) for f in schema.fields}
    wrong = F.array_compact(F.array(*[_type_reason(f, types[f.name]) for f in schema.fields]))
    infinite = [
        F.when(F.abs(root[_ROOT][f.name]) == F.lit(float("inf")), F.lit(f"parse: {f.name} is out of range"))
        for f in schema.fields
        if isinstance(f.dataType, DoubleType | FloatType)
    ]
    beyond = F.array_compact(F.array(*infinite)) if infinite else F.array().cast(_REASONS)
    unreadable = root[_CORRUPT].isNotNull() | root[_ROOT].isNull()
    return (
        F.when(value.isNull(), _reason("tombstone"))
        .when(F.length(value) == 0, _reason("empty"))
        .when(~F.is_valid_utf8(text), _reason("not UTF-8"))
        .when(F.size(F.array_distinct(keys)) < F.size(keys), _reason("a key stands twice"))
        .when(~is_object, _reason("not a JSON object"))
        .when(
            F.coalesce(F.json_array_length(F.concat(F.lit("["), text, F.lit("]"))), F.lit(0)) != 1,
            _reason("more than one object"),
        )
        .when(F.size(wrong) > 0, wrong)
        .when(unreadable, _reason("a value is out of range or not of its declared type"))
        .when(F.size(beyond) > 0, beyond)
    )


def _reason(text: str) -> Column:
    return F.array(F.lit(f"parse: {text}"))


def _type_reason(field: StructField, found: Column) -> Column:
    """Return the reason when a Variant's type does not fit the declared one; null when it does, or is missing or null."""
    fits = _fitting(field.dataType)
    kind = F.regexp_extract(found, r"^\w+", 0)
    return F.when(
        found.isNotNull() & ~kind.isin("VOID", *fits),
        F.concat(F.lit(f"parse: {field.name} is "), kind, F.lit(f", not {field.dataType.simpleString().upper()}")),
    )


def _fitting(declared: DataType) -> list[str]:
    if isinstance(declared, _QUOTED):
        return ["STRING"]
    if isinstance(declared, StructType | MapType):
        return ["OBJECT"]
    return {
        "boolean": ["BOOLEAN"],
        "array": ["ARRAY"],
        "double": ["BIGINT", "DECIMAL", "DOUBLE"],
        "float": ["BIGINT", "DECIMAL", "DOUBLE"],
        "decimal": ["BIGINT", "DECIMAL", "DOUBLE"],
    }.get(declared.typeName(), ["BIGINT", "DECIMAL"])


def _json_path(name: str) -> str:
    return "$['" + name.replace("'", "\\'") + "']"


def _sum(conditions: list[Column]) -> Column:
    total = F.lit(0)
    for condition in conditions:
        total = total + condition.cast("int")
    return total
