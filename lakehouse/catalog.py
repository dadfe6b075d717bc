"""Declare tables, and load what a workspace declares.

A decorator turns a function into a :class:`TableSpec`: its name, layer, inputs and keys are data, and the function only
transforms. Nothing is registered behind the reader's back: :meth:`Catalog.load` imports every file of the workspace's
``bronze/``, ``silver/``, ``gold/`` and ``reference/`` folders and collects the specs it finds in them.

    @silver("weather", keys=["origin", "observed_at"], parse=Json("origin STRING, …"), event_time="observed_at", …)
    def weather(records: Annotated[DataFrame, Bronze("weather")]) -> DataFrame:
        return records.select("_record", "origin", "observed_at", …)

    @gold("delays_by_carrier_hour", keys=["carrier", "hour"])
    def delays_by_carrier_hour(
        flights: Annotated[DataFrame, Silver("flights", hour=Trunc("scheduled_departure", "hour"))],
    ) -> DataFrame:
        return flights.groupBy("carrier", F.date_trunc("hour", "scheduled_departure").alias("hour")).agg(…)
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakehouse.declarations import first_line, load_declaration
from lakehouse.errors import DeclarationError, UnknownNameError
from lakehouse.security.pii import Personal as Personal
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Layer = Literal["bronze", "silver", "gold", "reference"]
LAYERS: tuple[Layer, ...] = ("bronze", "reference", "silver", "gold")


@dataclass(frozen=True)
class Trunc:
    """A key that is a time column cut to a unit: the window that an event falls in.

    Attributes:
        column: A TIMESTAMP column of the input.
        unit: ``minute``, ``hour``, ``day``, ``month`` or another unit of Spark's ``date_trunc``.
    """

    column: str
    unit: str


Key = str | Trunc


@dataclass(frozen=True, init=False)
class Input:
    """A table that another one reads.

    Attributes:
        name: ``layer.table``.
        keys: For each key column of the *reading* table, which column of this input it comes from. A change in this
            input then touches just the rows of the reading table with those keys. Columns of the same name need not be
            named. An input without any of the keys (reference data) makes the whole reading table be computed again.
    """

    name: str
    keys: Mapping[str, Key] = field(hash=False)

    def __init__(self, name: str, **keys: Key) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "keys", keys)


def Bronze(name: str) -> Input:
    """Read the records of a feed: the parsed fields, and the Kafka columns of :mod:`lakehouse.lanes.ingest`."""
    return Input(f"bronze.{name}")


def Silver(name: str, **keys: Key) -> Input:
    """Read a silver table. ``keys``: see :class:`Input`."""
    return Input(f"silver.{name}", **keys)


def Gold(name: str, **keys: Key) -> Input:
    """Read a gold table. ``keys``: see :class:`Input`."""
    return Input(f"gold.{name}", **keys)


def Reference(name: str) -> Input:
    """Read a reference table; a change in it computes the reading table again."""
    return Input(f"reference.{name}")


@dataclass(frozen=True)
class Json:
    """The wire format of a feed: one JSON object a record.

    Attributes:
        schema: Spark DDL of the fields: ``"flight_id STRING, delay DOUBLE"``. A field of another type in the record is a
            parse error; a field that is not there is null.
    """

    schema: str


@dataclass(frozen=True)
class Kafka:
    """A feed's source: a Kafka topic.

    Attributes:
        topic: Name of the topic.
        partitions: Partitions when Tidemill makes the topic; the setting ``kafka.partitions`` when left out.
    """

    topic: str
    partitions: int | None = None


@dataclass(frozen=True)
class TableSpec:
    """All that is declared of one table.

    Attributes:
        layer: Which layer it belongs to.
        name: Its name inside the layer; also the name of its file, its suite and its test.
        keys: Columns that identify a row. Silver and gold hold one row a key.
        inputs: Parameter name of ``function`` → the table that is passed for it.
        function: The transformation; bronze has none.
        description: First line of the function's docstring, or of the declaration.
        source: Bronze only: where the records come from.
        parse: Silver tables that read bronze: the wire format.
        event_time: Column that says when it happened, for lateness; silver tables that read bronze.
        watermark: How far ``event_time`` may lie behind the feed clock (``"6 hours"``); older records are dead letters.
        future: How far ``event_time`` may lie ahead of the feed clock.
        suite: Name of its suite under ``expectations/``, without the ending; ``None``: no gate.
        cluster_by: Columns of the liquid clustering, for file skipping.
        pii: Columns with personal data.
        personal: Ingest tables with such columns: whose data it is, and how each column is protected.
        tags: Words by which people find it.
    """

    layer: Layer
    name: str
    keys: tuple[str, ...] = ()
    inputs: Mapping[str, Input] = field(default_factory=dict, hash=False)
    function: Callable[..., Any] | None = None
    description: str = ""
    source: Kafka | None = None
    parse: Json | None = None
    event_time: str | None = None
    watermark: str | None = None
    future: str | None = None
    suite: str | None = None
    cluster_by: tuple[str, ...] = ()
    pii: tuple[str, ...] = ()
    personal: Personal | None = None
    tags: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """``layer.name``."""
        return f"{self.layer}.{self.name}"

    @property
    def is_ingest(self) -> bool:
        """True for the silver table that reads a feed's bronze."""
        return self.layer == "silver" and any(i.name.startswith("bronze.") for i in self.inputs.values())

    @property
    def feed(self) -> str:
        """Name of the feed that an ingest table or a bronze table belongs to."""
        if self.layer == "bronze":
            return self.name
        (bronze,) = (i.name for i in self.inputs.values() if i.name.startswith("bronze."))
        return bronze.removeprefix("bronze.")

    def path(self, root: str) -> str:
        """Return where the table lies below the lake's root (``s3a://bucket``)."""
        return f"{root}/{self.layer}/{self.name}"


Transform = Callable[..., "DataFrame"]


def bronze(name: str, *, source: Kafka, description: str = "", tags: Sequence[str] = ()) -> TableSpec:
    """Declare a feed: every record of its source, raw, as it came."""
    keys = ("topic_id", "partition", "offset")
    return TableSpec("bronze", name, keys=keys, source=source, description=description, tags=tuple(tags))


def silver(
    name: str,
    *,
    keys: Sequence[str],
    parse: Json | None = None,
    event_time: str | None = None,
    watermark: str | None = None,
    future: str | None = None,
    suite: str | None = None,
    cluster_by: Sequence[str] = (),
    pii: Personal | Sequence[str] = (),
    tags: Sequence[str] = (),
) -> Callable[[Transform], TableSpec]:
    """Declare a silver table: typed, gated and deduplicated records of a feed, or rows derived from other silver tables.

    The function of a table that reads bronze gets the fields named in ``parse`` as columns, and ``_record``, which says
    where a row came from. It must be row-wise (it keeps, drops and adds no rows) and end in a ``select`` of ``"_record"`` and
    the table's own columns. A function that reads silver is a plain batch computation over all rows of the keys it is asked
    for: grouping and joining are welcome, and its result must not depend on the order of rows.
    """

    def declare(function: Transform) -> TableSpec:
        spec = _spec("silver", name, function, keys, cluster_by, suite, tags, pii, parse, event_time, watermark, future)
        if spec.is_ingest and (parse is None or event_time is None or watermark is None or future is None):
            raise DeclarationError(f"{spec.full_name} reads bronze, so it needs parse, event_time, watermark and future.")
        if spec.is_ingest == isinstance(pii, Sequence) and pii:
            raise DeclarationError(
                f"{spec.full_name}: pii is Personal(…) where a feed's records come in, to say whose data it is and how it is kept; "
                "further on it is the names of columns."
            )
        if spec.personal and (exposed := set(spec.pii) & {*spec.keys, spec.event_time}):
            raise DeclarationError(f"{spec.full_name}: {sorted(exposed)} cannot be personal data, since rows are found by it.")
        if spec.is_ingest and len(spec.inputs) != 1:
            raise DeclarationError(f"{spec.full_name} reads bronze, which must be its only input.")
        return spec

    return declare


def gold(
    name: str, *, keys: Sequence[str], suite: str | None = None, cluster_by: Sequence[str] = (), tags: Sequence[str] = ()
) -> Callable[[Transform], TableSpec]:
    """Declare a gold table: a mart or a feature table, computed from silver."""
    return lambda function: _spec("gold", name, function, keys, cluster_by, suite, tags)


def reference(
    name: str, *, keys: Sequence[str], suite: str | None = None, tags: Sequence[str] = ()
) -> Callable[[Callable[[], Any]], TableSpec]:
    """Declare reference data: the function takes nothing and returns a pandas DataFrame, read again at each start."""

    def declare(function: Callable[[], Any]) -> TableSpec:
        said, named = first_line(function), tuple(tags)
        return TableSpec("reference", name, keys=tuple(keys), function=function, suite=suite, description=said, tags=named)

    return declare


def _spec(
    layer: Layer,
    name: str,
    function: Transform,
    keys: Sequence[str],
    cluster_by: Sequence[str],
    suite: str | None,
    tags: Sequence[str],
    pii: Personal | Sequence[str] = (),
    parse: Json | None = None,
    event_time: str | None = None,
    watermark: str | None = None,
    future: str | None = None,
) -> TableSpec:
    inputs = inputs_of(f"{layer}.{name}", function)
    if not keys:
        raise DeclarationError(f"{layer}.{name} needs keys: the columns that identify a row.")
    return TableSpec(
        layer=layer,
        name=name,
        keys=tuple(keys),
        inputs=inputs,
        function=function,
        description=first_line(function),
        parse=parse,
        event_time=event_time,
        watermark=watermark,
        future=future,
        suite=suite,
        cluster_by=tuple(cluster_by),
        pii=pii.columns if isinstance(pii, Personal) else tuple(pii),
        personal=pii if isinstance(pii, Personal) else None,
        tags=tuple(tags),
    )


def inputs_of(full_name: str, function: Callable[..., Any]) -> dict[str, Input]:
    """Return parameter → the table that is passed for it, from a function's annotations.

    Raises:
        DeclarationError: A parameter names no table.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    inputs: dict[str, Input] = {}
    for parameter in inspect.signature(function).parameters:
        declared = [x for x in getattr(hints.get(parameter), "__metadata__", ()) if isinstance(x, Input)]
        if len(declared) != 1:
            raise DeclarationError(f'{full_name}: annotate `{parameter}` as Annotated[DataFrame, Silver("…")] or the like.')
        inputs[parameter] = declared[0]
    return inputs


class Catalog:
    """The tables of one workspace, by ``layer.name``, inputs before the tables that read them."""

    def __init__(self, specs: Sequence[TableSpec]) -> None:
        """Check the declarations against each other and order them.

        Raises:
            DeclarationError: Two tables share a name, a cycle, two ingest tables on one feed, a feed without one.
            UnknownNameError: A table reads one that nobody declared.
        """
        self._specs: dict[str, TableSpec] = {}
        for spec in specs:
            if spec.full_name in self._specs:
                raise DeclarationError(f"{spec.full_name} is declared twice.")
            self._specs[spec.full_name] = spec
        for spec in specs:
            for source in spec.inputs.values():
                self[source.name]
        self._specs = {name: self._specs[name] for name in self._ordered()}
        readers: dict[str, list[str]] = {}
        for spec in self:
            if spec.is_ingest:
                readers.setdefault(spec.feed, []).append(spec.full_name)
        for feed in self.layer("bronze"):
            if len(found := readers.get(feed.name, [])) != 1:
                raise DeclarationError(f"{feed.full_name} must be read by just one silver table, but {found or 'none'} read it.")

    @classmethod
    def load(cls, workspace: Workspace) -> Catalog:
        """Import every table file of a workspace and collect the specs in it."""
        specs: list[TableSpec] = []
        for full_name, file in table_files(workspace).items():
            layer = full_name.partition(".")[0]
            specs.append(load_declaration(file, layer, TableSpec))
        return cls(specs)

    def __getitem__(self, full_name: str) -> TableSpec:
        """Return a table by ``layer.name``.

        Raises:
            UnknownNameError: Nobody declared it.
        """
        try:
            return self._specs[full_name]
        except KeyError:
            raise UnknownNameError(f"No table {full_name}; there are: {', '.join(sorted(self._specs)) or 'none'}.") from None

    def __iter__(self) -> Iterator[TableSpec]:
        """Yield the tables, inputs first."""
        return iter(self._specs.values())

    def __len__(self) -> int:
        """Return how many tables there are."""
        return len(self._specs)

    def layer(self, layer: Layer) -> list[TableSpec]:
        """Return the tables of one layer."""
        return [spec for spec in self if spec.layer == layer]

    def ingest(self, feed: str) -> TableSpec:
        """Return the silver table that reads a feed.

        Raises:
            UnknownNameError: No such feed.
        """
        self[f"bronze.{feed}"]
        return next(spec for spec in self if spec.is_ingest and spec.feed == feed)

    def _ordered(self) -> list[str]:
        done: dict[str, bool] = {}  # False while a table's inputs are being visited

        def visit(name: str) -> None:
            if done.get(name) is False:
                raise DeclarationError(f"{name} reads itself, through its inputs.")
            if name not in done:
                done[name] = False
                for source in self._specs[name].inputs.values():
                    visit(source.name)
                done[name] = True

        for name in sorted(self._specs, key=lambda n: (LAYERS.index(self._specs[n].layer), n)):
            visit(name)
        return sorted(done, key=list(done).index)


def table_files(workspace: Workspace) -> dict[str, Path]:
    """Return ``layer.name`` → file of the tables of a workspace, without importing any of them."""
    return {f"{layer}.{file.stem}": file for layer in LAYERS for file in sorted((workspace.tables / layer).glob("[!_]*.py"))}


def lake_tables(workspace: Workspace) -> list[str]:
    """Return ``layer.name`` of the tables of the lake that can be asked for: all but bronze; no file is imported."""
    return [name for name in table_files(workspace) if not name.startswith("bronze.")]
