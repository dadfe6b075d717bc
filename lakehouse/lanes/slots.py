"""Task slots of the fast lane's driver: a Real-time query holds one a partition while it runs; those of windows come and go."""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.catalog import Catalog
from lakehouse.errors import DeclarationError
from lakehouse.livetables import LiveSpec, WindowSpec
from lakehouse.settings import Settings


def slots(settings: Settings, catalog: Catalog, tables: Mapping[str, LiveSpec]) -> int:
    """Return how many task slots the driver needs: one for each partition of a live table, and one more for windows.

    Raises:
        DeclarationError: The setting ``fast.cores`` allows fewer.
    """
    partitions = windows = 0
    for spec in tables.values():
        if isinstance(spec, WindowSpec):
            windows += 1
            continue
        source = catalog[f"bronze.{spec.feed}"].source
        assert source is not None
        partitions += source.partitions or settings.kafka.partitions
    least = partitions + (1 if windows else 0)
    if settings.fast.cores is not None and settings.fast.cores < least:
        more = ", and their windows need one more" if windows else ""
        raise DeclarationError(
            f"The live tables read {partitions} partitions, each of which holds a task slot{more}; fast.cores is "
            f"{settings.fast.cores}. Set TIDEMILL_FAST__CORES={least} or more, or leave it out."
        )
    return settings.fast.cores or partitions + 1 + windows
