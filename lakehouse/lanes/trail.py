"""The audit log carried to the lake, by the one writer of its tables.

What is carried already is read from the table itself, whose commit is all or nothing: nothing is lost or comes twice, whatever is
killed.
"""

from __future__ import annotations

from delta.tables import DeltaTable
from psycopg.types.json import Jsonb
from pyspark.sql import functions as F

from lakehouse.lanes.context import Context
from lakehouse.security.audit import CARRIED
from lakehouse.storage.warm import Upkeep

SCHEMA = "writer STRING, number BIGINT, at TIMESTAMP, entry STRING, hash STRING"
_MOST = 50_000  # entries of one commit


class Trail:
    """Carries entries; made by the owner of the tables."""

    def __init__(self, context: Context) -> None:
        """Know where to; nothing is read yet."""
        self._context = context
        self._path = f"{context.settings.lake_uri}/{CARRIED}"
        self._upkeep = Upkeep(context.spark, self._path, optimize_every=context.settings.lake.optimize_every)
        self._carried: dict[str, int] | None = None
        self._commits = 0

    def carry(self) -> int:
        """Append the entries that the lake does not have yet; returns how many.

        Raises:
            LeaseLostError: Another process owns the tables now.
        """
        context, total = self._context, 0
        if context.control.run("SELECT to_regclass('tidemill.audit') AS there")[0]["there"] is None:
            return 0  # no gateway ever ran
        while True:
            carried = self._read() if self._carried is None else self._carried
            rows = context.control.run(
                "SELECT a.writer::text AS writer, a.number, a.at, a.entry, a.hash FROM tidemill.audit AS a "
                "LEFT JOIN jsonb_each_text(%s) AS c ON c.key = a.writer::text "
                "WHERE a.number > coalesce(c.value::bigint, 0) ORDER BY a.writer, a.number LIMIT %s",
                (Jsonb(carried), _MOST),
            )
            if not rows:
                self._carried = carried
                return total
            self._carried = None  # until the commit is known to be there
            context.lease.check()
            values = [(row["writer"], row["number"], row["at"], row["entry"], row["hash"]) for row in rows]
            frame = context.spark.createDataFrame(values, SCHEMA).coalesce(1)
            frame.write.format("delta").mode("append").save(self._path)
            self._carried = {**carried, **{row["writer"]: row["number"] for row in rows}}
            self._commits += 1
            self._upkeep.after_batch(self._commits)
            total += len(rows)

    def _read(self) -> dict[str, int]:
        """Return the last entry of each writer that the lake has."""
        spark = self._context.spark
        if not DeltaTable.isDeltaTable(spark, self._path):
            return {}
        table = spark.read.format("delta").load(self._path)
        return {row["writer"]: row["last"] for row in table.groupBy("writer").agg(F.max("number").alias("last")).collect()}
