"""Reference data: small tables that a function returns whole, written again when they changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from lakehouse.catalog import TableSpec
from lakehouse.errors import DeclarationError
from lakehouse.lanes.context import Context
from lakehouse.lanes.writes import replace_all


def read_reference(spec: TableSpec) -> pd.DataFrame:
    """Return what a reference table's function returns.

    Raises:
        DeclarationError: The function fails, or its keys are missing or not unique.
    """
    assert spec.function is not None
    try:
        frame: pd.DataFrame = spec.function()
    except Exception as error:
        raise DeclarationError(f"{spec.full_name}: its function fails: {error}") from error
    keys = list(spec.keys)
    if not set(keys) <= set(frame.columns) or frame[keys].isna().any(axis=None) or frame.duplicated(keys).any():
        raise DeclarationError(f"{spec.full_name}: its keys {keys} must be columns, filled, and unique.")
    return frame


def digest(frame: pd.DataFrame) -> str:
    """Return what tells one state of reference data from another."""
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


def digests(references: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return each table's :func:`digest`, by its name."""
    return {name: digest(frame) for name, frame in references.items()}


class ReferenceTable:
    """One reference table; it has no query, only :meth:`prepare`."""

    def __init__(self, context: Context, spec: TableSpec) -> None:
        self._context = context
        self._spec = spec

    def prepare(self) -> None:
        """Read the data, and replace the table if it differs from what is there.

        Raises:
            DeclarationError: The function fails, or its keys are missing or not unique.
        """
        context, spec = self._context, self._spec
        frame = read_reference(spec)
        found = digest(frame)
        epoch = context.epoch(spec)
        if epoch.options.get("sha256") == found:
            return
        context.lease.check()
        replace_all(context.spark.createDataFrame(frame), context.path(spec))
        context.epochs.put(spec.full_name, replace(epoch, options={"sha256": found}))
        context.control.record_batch(spec.full_name, 0, 0, duration_ms=0, rows_read=len(frame), rows_written=len(frame))
