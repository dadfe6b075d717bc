"""The epoch of a table: which checkpoint its query goes on from.

A query whose history no longer fits its input (the topic was recreated, the table was rebuilt) starts a new epoch: a new
checkpoint, and new transaction ids, since Delta would skip writes of an old id in silence. The epoch is a small object beside the
tables, because it belongs to the data: it must be restored together with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lakehouse.storage.objects import Objects


@dataclass(frozen=True)
class Epoch:
    """Where a table's query stands.

    Attributes:
        number: Counts up; part of the checkpoint's path and of the transaction ids.
        options: Reader options that say where a new checkpoint begins.
        topic_id: Bronze: the Kafka id of the topic that is read.
        inputs: Version of each reference table that the rows were computed with.
        rebuilding: A rebuild was begun and is not known to have ended.
        lost: Bronze: offsets that expired or went with a deleted topic before they were read, as accepted by an operator.
    """

    number: int = 0
    options: dict[str, str] = field(default_factory=dict)
    topic_id: str | None = None
    inputs: dict[str, int] = field(default_factory=dict)
    rebuilding: bool = False
    lost: list[dict[str, Any]] = field(default_factory=list)

    def checkpoint(self, root: str, table: str) -> str:
        """Return the checkpoint's path below the lake's root."""
        return f"{root}/_checkpoints/{table}/{self.number}"

    def transaction(self, table: str) -> str:
        """Return the ``txnAppId`` of the table's writes."""
        return f"{table}/{self.number}"


class Epochs:
    """The epochs of a workspace's tables, in the object store."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def get(self, table: str) -> Epoch:
        """Return a table's epoch; the first one when it never ran."""
        content = self._objects.read_json(f"_tidemill/epochs/{table}.json")
        return Epoch(**content) if content else Epoch()

    def put(self, table: str, epoch: Epoch) -> None:
        """Replace a table's epoch."""
        self._objects.write_json(f"_tidemill/epochs/{table}.json", asdict(epoch))

    def next(self, table: str, **changes: Any) -> Epoch:
        """Begin a new epoch of a table, with changed fields; its checkpoint is not there yet."""
        now = self.get(table)
        epoch = replace(now, number=now.number + 1, rebuilding=False, **changes)
        self.put(table, epoch)
        return epoch
