"""Sealed columns, opened for those to whom the policy reveals them, before masks and before the user's query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from lakehouse.security.pii import place

Reveal = Callable[[Sequence[str | None], str], list[str | None]]
"""Values of a column, and the place where they were sealed → what was sealed; see :meth:`lakehouse.security.keyring.Keyring.reveal`."""


class Revealed:
    """Rows that can be read any number of times, with some of their columns opened."""

    def __init__(self, rows: object, columns: Mapping[str, str], reveal: Reveal) -> None:
        """Remember how; nothing is opened before somebody reads.

        Args:
            rows: An Arrow stream that can be had again and again.
            columns: Lower-case name of a column → the table that it was sealed in.
            reveal: Opens values.
        """
        self._rows = rows
        self._columns = columns
        self._reveal = reveal

    def __arrow_c_schema__(self) -> object:
        """Return the columns, for Arrow's PyCapsule interface."""
        return self._schema(self._reader().schema).__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows, for Arrow's PyCapsule interface."""
        reader = self._reader()
        schema = self._schema(reader.schema)
        return pa.RecordBatchReader.from_batches(schema, self._batches(reader, schema)).__arrow_c_stream__()

    def _reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_stream(self._rows)

    def _schema(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field(x.name, pa.string()) if x.name.lower() in self._columns else x for x in schema])

    def _batches(self, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = []
            for column, field in zip(batch.columns, batch.schema, strict=True):
                table = self._columns.get(field.name.lower())
                columns.append(column if table is None else self._opened(column, place(table, field.name)))
            yield pa.record_batch(columns, schema=schema)

    def _opened(self, column: pa.Array, where: str) -> pa.Array:
        return pa.array(self._reveal(column.cast(pa.string()).to_pylist(), where), pa.string())
