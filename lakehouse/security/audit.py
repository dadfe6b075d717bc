"""The record of who saw what: each entry is committed before an answer leaves, and bound to the one before it.

Each process that writes has a chain of its own in PostgreSQL: an entry's hash covers its text, its number and the hash of the one
before. The head of each chain is put into the object store, which has other credentials, so that whoever can change the database
cannot also change what it should end with. The lake lane carries entries to a Delta table there. :func:`verify` finds an entry that was
changed, left out, moved, or cut off the end, and one that is another than was carried.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

from lakehouse.control import Control
from lakehouse.errors import AuditError
from lakehouse.storage.objects import Objects

log = logging.getLogger(__name__)

CARRIED = "audit_log"
"""The Delta table that the lake lane carries entries to, below the lake's root."""

_ANCHOR_SECONDS = 1.0
_FIRST = "0" * 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tidemill.audit (
    writer uuid NOT NULL, number bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), entry text NOT NULL, hash text NOT NULL,
    PRIMARY KEY (writer, number))
"""

_INSERT = """
INSERT INTO tidemill.audit (writer, number, entry, hash) SELECT %s, * FROM unnest(%s::bigint[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING RETURNING number
"""


@dataclass(frozen=True, eq=False)
class _Waiting:
    text: str
    done: Future[None] = field(default_factory=Future)


class Audit:
    """One writer's chain; safe to share between threads."""

    def __init__(self, control: Control, objects: Objects) -> None:
        """Begin a chain.

        Args:
            control: Where entries go.
            objects: Where its head goes.
        """
        self._control = control
        self._objects = objects
        self._writer = str(uuid.uuid4())
        self._number, self._hash = 0, _FIRST
        self._open: tuple[int, str] | None = None
        self._queue: deque[_Waiting] = deque()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        control.run(_SCHEMA)
        self._thread = threading.Thread(target=self._anchor_forever, name="audit-anchor", daemon=True)
        self._thread.start()

    def record(self, entry: Mapping[str, Any]) -> None:
        """Commit an entry; those that come while others are committed go together.

        Args:
            entry: What JSON can hold; no literal of a query.

        Raises:
            AuditError: It could not be committed; then nothing that it speaks of may happen.
        """
        mine = _Waiting(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS, default=str).decode())
        self._queue.append(mine)
        with self._guard:
            if not mine.done.done():  # nobody took it along meanwhile
                together = [self._queue.popleft() for _ in range(len(self._queue))]
                try:
                    self._commit([waiting.text for waiting in together])
                except BaseException as error:
                    for waiting in together:
                        waiting.done.set_exception(error)
                else:
                    for waiting in together:
                        waiting.done.set_result(None)
        mine.done.result()

    def _commit(self, texts: Sequence[str]) -> None:
        """Commit entries in one statement: all of them, or none."""
        try:
            self._settle()
            numbers, hashes, before = [], [], self._hash
            for number, text in enumerate(texts, self._number + 1):
                before = chained(before, self._writer, number, text)
                numbers.append(number)
                hashes.append(before)
            self._open = numbers[-1], before
            # A retry, after an answer that was lost, finds the entries there.
            added = self._control.run(_INSERT, (self._writer, numbers, list(texts), hashes))
            if len(added) == len(texts):
                self._number, self._hash, self._open = numbers[-1], before, None
                return
            self._settle()
            if self._number != numbers[-1]:
                raise AuditError("Somebody else empties this process's audit log, so nothing is answered.")
        except psycopg.Error as error:
            raise AuditError(
                "The audit log cannot be written, so nothing is answered; `tidemill status` shows the servers."
            ) from error

    def _settle(self) -> None:
        """Look whether the last entries are there: they may be although their commit seemed to fail."""
        if self._open is None:
            return
        number, found = self._open
        rows = self._control.run("SELECT hash FROM tidemill.audit WHERE writer = %s AND number = %s", (self._writer, number))
        if rows and rows[0]["hash"] != found:
            raise AuditError("Somebody else writes this process's audit log, so nothing is answered.")
        if rows:
            self._number, self._hash = number, found
        self._open = None

    def close(self) -> None:
        """Put the last head down, and end."""
        self._stop.set()
        self._thread.join()

    def _anchor_forever(self) -> None:
        anchored = 0
        while True:
            ends = self._stop.wait(_ANCHOR_SECONDS)
            with self._guard:
                number, found = self._number, self._hash
            if number != anchored:
                try:
                    self._objects.write_json(f"audit/{self._writer}.json", {"number": number, "hash": found})
                    anchored = number
                except OSError:
                    log.warning("The head of the audit log cannot be put into the object store.", exc_info=True)
            if ends:
                return


@dataclass(frozen=True)
class Break:
    """Where a chain does not hold.

    Attributes:
        writer: Whose chain.
        number: Of the entry.
        what: What is wrong, in a few words.
    """

    writer: str
    number: int
    what: str


def chained(before: str, writer: str, number: int, text: str) -> str:
    """Return the hash of an entry, hexadecimal SHA-256."""
    return hashlib.sha256(f"{before}\n{writer}\n{number}\n{text}".encode()).hexdigest()


def verify(control: Control, objects: Objects, carried: Iterable[tuple[str, int, str]] = ()) -> tuple[int, list[Break]]:
    """Go through all chains.

    Args:
        control: Where entries are.
        objects: Where heads are.
        carried: Writer, number and hash of each entry that the lake has.

    Returns:
        How many entries there are, and where a chain does not hold.
    """
    control.run(_SCHEMA)
    others = set(carried)
    heads = {str(row["writer"]): None for row in control.run("SELECT DISTINCT writer FROM tidemill.audit")}
    anchors = {name: objects.read_json(f"audit/{name}.json") for name in {*heads, *_anchored(objects)}}
    count, breaks = 0, []
    for writer, anchor in sorted(anchors.items()):
        rows = control.run("SELECT number, entry, hash FROM tidemill.audit WHERE writer = %s ORDER BY number", (writer,))
        count += len(rows)
        others -= {(writer, row["number"], row["hash"]) for row in rows}
        before = _FIRST
        hashes: dict[int, str] = {}
        for position, row in enumerate(rows, 1):
            if row["number"] != position:
                breaks.append(Break(writer, position, "is missing"))
                break
            if row["hash"] != chained(before, writer, position, row["entry"]):
                breaks.append(Break(writer, position, "was changed, or what is before it was"))
                break
            before = hashes[position] = row["hash"]
        else:
            if anchor is None:
                breaks.append(Break(writer, len(rows), "has no head in the object store"))
            elif len(rows) < anchor["number"]:
                breaks.append(Break(writer, len(rows) + 1, f"is missing, and so are all up to {anchor['number']}"))
            elif hashes[anchor["number"]] != anchor["hash"]:
                breaks.append(Break(writer, anchor["number"], "is another one than its head in the object store says"))
    breaks += [Break(writer, number, "is another one than the lake has") for writer, number, _ in sorted(others)]
    return count, breaks


def _anchored(objects: Objects) -> list[str]:
    return [str(path).rpartition("/")[2].removesuffix(".json") for path in objects.fs.glob(f"{objects.bucket}/audit/*.json")]
