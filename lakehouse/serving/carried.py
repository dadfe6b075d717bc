"""What the lake has of the audit log, without Spark."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable

from lakehouse.security.audit import CARRIED
from lakehouse.serving.tables import lake_locator, open_table
from lakehouse.settings import Settings


def carried(settings: Settings) -> list[tuple[str, int, str]]:
    """Return writer, number and hash of each entry; none before the lake lane carried any.

    Raises:
        QueryFailedError: The table cannot be read.
    """
    location = lake_locator(settings)(CARRIED)
    if not DeltaTable.is_deltatable(location.uri, dict(location.options)):
        return []
    table = open_table(CARRIED, location, None)
    rows = pa.table(table.scan(columns=["writer", "number", "hash"])).to_pydict()
    return list(zip(rows["writer"], rows["number"], rows["hash"], strict=True))
