"""What a text asks for, and whether it may: one SELECT over known tables.

DuckDB's own parser reads the text, so what is checked is what runs. The tree is checked by what is allowed: a kind of node
that is not listed here is refused, also when a later DuckDB brings it (its 2.0 brought ``WITH x AS (DELETE …)``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import duckdb

from lakehouse.errors import QueryFailedError, QueryRefusedError
from lakehouse.serving.pushdown import Condition, conditions, sources
from lakehouse.serving.sandbox import own

Node = dict[str, Any]

MAX_CHARACTERS = 100_000

_KEPT_CHARACTERS = 10_000  # of a text whose reading is kept: dashboards ask the same again and again
_KEPT = 512

_QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_SOURCES = {"BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "TABLE_FUNCTION", "PIVOT", "SHOW_REF"}
_MODIFIERS = {"ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"}
_ORDERS = {"ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
_ALLOWED = _QUERIES | _SOURCES | _MODIFIERS | _ORDERS
# Of DuckDB's 130 table functions, those that make rows out of their arguments alone.
_TABLE_FUNCTIONS = {"unnest", "range", "generate_series", "json_each", "json_tree"}
# Functions that reach past the rows: the process, its settings and log, other SQL texts, sequences.
_DENIED_FUNCTIONS = {
    "current_setting",
    "current_connection_id",
    "current_query_id",
    "current_transaction_id",
    "currval",
    "getenv",
    "getvariable",
    "json_deserialize_sql",
    "json_execute_serialized_sql",
    "json_serialize_plan",
    "json_serialize_sql",
    "nextval",
    "query",
    "query_table",
    "setval",
    "sleep_ms",
    "txid_current",
    "write_log",
}

_CLOCKS = frozenset(
    {
        "age",
        "current_date",
        "current_localtime",
        "current_localtimestamp",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
    }
)


@dataclass(frozen=True)
class Statement:
    """One SELECT that may run.

    Attributes:
        sql: The text.
        tables: ``layer.name`` of every table it reads.
        bare: Names written without their layer → ``layer.name``.
        columns: Lower-case names that may be columns of these tables; ``None``: it may use any.
        filters: ``layer.name`` → conditions that every row it uses of that table fulfils.
        digest: The same for texts that are the same query, however they are written; hexadecimal.
        calls: Lower-case names of the functions it calls, and of what may be one: ``CURRENT_DATE`` is written like a column.
        is_sampled: Whether it draws rows at random.
    """

    sql: str
    tables: tuple[str, ...]
    bare: Mapping[str, str]
    columns: frozenset[str] | None
    filters: Mapping[str, tuple[Condition, ...]]
    digest: str
    calls: frozenset[str]
    is_sampled: bool

    @property
    def is_stable(self) -> bool:
        """Whether it answers the same of the same rows: it looks at no clock and draws no random numbers."""
        return not self.is_sampled and self.calls.isdisjoint(_unstable_functions())


def check(sql: str, known: Collection[str], *, with_parameters: bool = False) -> Statement:
    """Parse a text and refuse what is not one SELECT over known tables.

    Args:
        sql: The text, as the user wrote it; nothing of it runs.
        known: ``layer.name`` of the tables that may be read.
        with_parameters: Whether values of parameters are given.

    Raises:
        QueryRefusedError: It is something else, or reads something else.
        QueryFailedError: It is not SQL; the message shows where.
    """
    read = _check_kept if len(sql) <= _KEPT_CHARACTERS else _check
    return read(sql, tuple(known), with_parameters)


def _check(sql: str, known: tuple[str, ...], with_parameters: bool) -> Statement:
    root = _parse(sql)
    if not with_parameters and root["statements"][0].get("named_param_map"):
        raise QueryRefusedError("The query has parameters ($1, ?); give their values.")
    nodes = list(_nodes(root))
    for node in nodes:
        _check_node(node)
    ctes = {str(entry["key"]).lower() for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
    tables = [node for node in nodes if "class" not in node and node.get("type") == "BASE_TABLE"]
    resolved = {id(node): full for node in tables if (full := _resolve(node, ctes, known)) is not None}
    counts = list(resolved.values())
    filters: dict[str, tuple[Condition, ...]] = {}
    for node in nodes:
        for source in sources(node["from_table"]) if node.get("type") == "SELECT_NODE" else ():
            # A table that is read twice is scanned with the same filter both times, so it gets none.
            if (full := resolved.get(id(source))) and counts.count(full) == 1:
                filters[full] = conditions(node["where_clause"], {_alias(source)})
    return Statement(
        sql=sql,
        tables=tuple(dict.fromkeys(counts)),
        bare={_path(node)[0]: resolved[id(node)] for node in tables if id(node) in resolved and len(_path(node)) == 1},
        columns=_columns(nodes, {_alias(node) for node in tables}),
        filters=filters,
        digest=_digest(root),
        calls=frozenset(str(name).lower() for node in nodes for name in _calls(node) if name),
        is_sampled=any(node.get("sample") for node in nodes),
    )


_check_kept = lru_cache(_KEPT)(_check)


def _parse(sql: str) -> Node:
    if len(sql) > MAX_CHARACTERS:
        raise QueryRefusedError(f"The query has {len(sql):,} characters; at most {MAX_CHARACTERS:,} are read.")
    if "\0" in sql:
        raise QueryRefusedError("The query holds a NUL character; remove it.")
    try:
        with own().cursor() as connection:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                kind = statements[0].type.name if len(statements) == 1 else f"{len(statements)} statements"
                raise QueryRefusedError(f"Only one SELECT can be asked at a time, and this is {kind}; nothing ran.")
            (text,) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0]
        tree: Node = json.loads(text)
    except duckdb.Error as error:
        raise QueryFailedError(f"The query cannot be read: {sql_message(error)}") from error
    except RecursionError as error:
        raise QueryRefusedError("The query is nested too deeply; split it with WITH.") from error
    if tree["error"]:
        raise QueryRefusedError(f"Only one SELECT can be asked: {tree['error_message']}")
    return tree


def fingerprint(sql: str) -> str:
    """Return what is the same for queries that differ by their constants alone, without any of these: hexadecimal, 16 digits.

    A text that is no query has one of its own kind: ``unreadable``.
    """
    return _fingerprint_kept(sql) if len(sql) <= _KEPT_CHARACTERS else _fingerprint(sql)


def _fingerprint(sql: str) -> str:
    try:
        tree = _parse(sql)
    except (QueryRefusedError, QueryFailedError):
        return "unreadable"
    for node in _nodes(tree):
        if node.get("class") == "CONSTANT":
            kind = node.get("type")
            node.clear()
            node["type"] = kind
    return _digest(tree)[:16]


_fingerprint_kept = lru_cache(_KEPT)(_fingerprint)


def _digest(tree: Node) -> str:
    """Return the digest of a tree, from which it takes where in the text each part stands."""
    for node in _nodes(tree):
        for place in ("query_location", "query_location_length"):
            node.pop(place, None)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def _calls(node: Node) -> list[Any]:
    # A column that is called like a function only costs its place among kept answers.
    return [node.get("function_name"), *(node.get("column_names") or ())[:1]]


@cache
def _unstable_functions() -> frozenset[str]:
    """Return the functions of which DuckDB does not say that they answer the same the next time: macros are among them."""
    with own().cursor() as connection:
        rows = connection.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE stability IS DISTINCT FROM 'CONSISTENT'"
        )
        return frozenset(name for (name,) in rows.fetchall()) | _CLOCKS


def parameter_names(sql: str) -> list[str]:
    """Return the names of the values that must be given with a text: those of ``?`` are numbers.

    Raises:
        QueryRefusedError: It is not one SELECT.
        QueryFailedError: It is not SQL.
    """
    found = _parse(sql)["statements"][0].get("named_param_map") or []
    return [str(entry["key"]) for entry in sorted(found, key=lambda entry: entry["value"])]


def sql_message(error: BaseException) -> str:
    """Return DuckDB's message without its class, the place in the text below it."""
    text = re.sub(r"^(\w+ )+Error: ", "", str(error).strip())
    return "\n".join(line for line in text.splitlines() if line.strip())


def _nodes(root: Node) -> Iterator[Node]:
    stack: list[Any] = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield value
            stack.extend(reversed(value.values()))
        elif isinstance(value, list):
            stack.extend(reversed(value))


def _check_node(node: Node) -> None:
    kind = node.get("type")
    name = str(node.get("function_name") or "").lower()
    if name in _DENIED_FUNCTIONS or name.startswith("__"):
        raise QueryRefusedError(f"The function {name} reaches past the tables, so it is not allowed.")
    if "class" in node or not isinstance(kind, str):
        return
    if kind not in _ALLOWED:
        raise QueryRefusedError(f"Only SELECT is allowed, and a part of this is {kind.removesuffix('_NODE')}.")
    if kind == "TABLE_FUNCTION" and (function := str(node["function"].get("function_name", "")).lower()) not in _TABLE_FUNCTIONS:
        raise QueryRefusedError(
            f"The table function {function or '?'} is not allowed; these are: {', '.join(sorted(_TABLE_FUNCTIONS))}."
        )
    if kind == "SHOW_REF" and not node.get("query"):
        raise QueryRefusedError("SHOW is not allowed; DESCRIBE layer.table shows a table's columns.")
    if node.get("at_clause"):
        raise QueryRefusedError("AT (VERSION …) is not allowed here; `--version layer.table=N` reads an older version.")


def _resolve(node: Node, ctes: Collection[str], known: Collection[str]) -> str | None:
    path = [part.lower() for part in _path(node)]
    if len(path) == 1 and path[0] in ctes:
        return None
    found = [
        full for full in known if full.lower() == ".".join(path) or (len(path) == 1 and full.lower().endswith(f".{path[0]}"))
    ]
    if len(path) > 2 or not found:
        written = ".".join(_path(node))
        raise QueryRefusedError(f"There is no table {written}; there are: {', '.join(sorted(known)) or 'none'}.")
    if len(found) > 1:
        raise QueryRefusedError(f"{path[0]} could be {' or '.join(sorted(found))}; write which.")
    return found[0]


def _path(node: Node) -> list[str]:
    return [str(part) for part in node["qualified_name"]["path"]]


def _alias(node: Node) -> str:
    return str(node["alias"] or node["table_name"]).lower()


def _columns(nodes: Collection[Node], aliases: Collection[str]) -> frozenset[str] | None:
    """Return every name that may be a column: too many do no harm, one too few would."""
    names: set[str] = set()
    unread = {id(star) for node in nodes if (star := _unread_star(node)) is not None}
    for node in nodes:
        kind = str(node.get("type"))  # a sample's size has an object there
        if id(node) in unread:
            continue
        if kind in {"STAR", "POSITIONAL_REFERENCE", "PIVOT", "SHOW_REF"} or node.get("ref_type") == "NATURAL":
            return None
        if kind == "BASE_TABLE" and node["column_name_alias"]:
            return None
        if kind == "COLUMN_REF":
            parts = [str(part).lower() for part in node["column_names"]]
            if parts[-1] in aliases:  # a whole row as one value
                return None
            names.update(parts)
        names.update(str(name).lower() for name in node.get("using_columns") or ())
    return frozenset(names)


def _unread_star(node: Node) -> Node | None:
    """Return the star of ``EXISTS (SELECT * FROM …)``, which asks for rows and no column."""
    if node.get("class") != "SUBQUERY" or node.get("subquery_type") != "EXISTS":
        return None
    select: Node = node["subquery"]["node"]
    if select["type"] != "SELECT_NODE" or select["modifiers"] or len(select["select_list"]) != 1:
        return None
    if (
        select["group_expressions"]
        or select["aggregate_handling"] != "STANDARD_HANDLING"
        or select["having"]
        or select["qualify"]
    ):
        return None
    (star,) = select["select_list"]
    is_plain = star["type"] == "STAR" and not star["columns"] and not star["expr"]
    lists = ("exclude_list", "replace_list", "qualified_exclude_list", "rename_list")
    return star if is_plain and not any(star.get(name) for name in lists) else None
