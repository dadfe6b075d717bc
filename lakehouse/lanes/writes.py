"""Delta writes that happen once, whatever is killed in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def append_once(frame: DataFrame, path: str, transaction: str, batch_id: int) -> None:
    """Append rows in one commit; the same batch again is skipped by Delta itself.

    Args:
        frame: The rows; they must be the same ones whenever the batch is run again.
        path: The table.
        transaction: ``txnAppId``, which names the query and its epoch.
        batch_id: ``txnVersion``.
    """
    (frame.write.format("delta").mode("append").option("txnAppId", transaction).option("txnVersion", batch_id).save(path))


def replace_all(frame: DataFrame, path: str) -> None:
    """Replace a table's rows in one commit: readers see the old ones until the new ones are whole."""
    frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)
