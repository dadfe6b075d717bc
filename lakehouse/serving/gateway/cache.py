"""Answers that were given before, kept in Valkey for those of the same tenant who ask the same and see the same.

An answer is found by the query's tree, its parameters, what the policy shows of each table that it reads, and the version of each: a
change of policy or data makes another key. Tenants have keys of their own, and each a bounded number.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

import orjson
import pyarrow as pa
import valkey
from arro3.core import Table

from lakehouse.security.policy import View
from lakehouse.serving.gateway.answers import arrow_stream
from lakehouse.serving.query import Parameters, QueryResult, Versions
from lakehouse.serving.statement import Statement

log = logging.getLogger(__name__)

LARGEST = 1 << 20
"""Bytes beyond which an answer is not kept."""
MOST = 256
"""Answers that are kept of a tenant; the oldest go first."""

Answer = tuple[QueryResult, dict[str, list[str]]]
"""An answer, and which columns of which tables it was made of."""

_META = b"tidemill"


class Cache:
    """The answers of all tenants; safe to share between threads, and between processes by Valkey."""

    def __init__(self, client: valkey.Valkey, seconds: int) -> None:
        """Use a Valkey.

        Args:
            client: Where answers are kept. When it is away, nothing is.
            seconds: How long.
        """
        self._client = client
        self._seconds = seconds
        self._guard = threading.Lock()
        self._working: dict[str, Future[Answer]] = {}

    def get(self, key: str) -> Answer | None:
        """Return what was kept."""
        try:
            found = cast(bytes | None, self._client.get(key))
            if found is None:
                return None
            table = pa.ipc.open_stream(found).read_all()
            meta = orjson.loads(table.schema.metadata[_META])
        except (valkey.ValkeyError, pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            log.info("No answer is taken from the cache", exc_info=error)
            return None
        result = QueryResult(
            columns=tuple(meta["columns"]),
            types=tuple(meta["types"]),
            table=Table.from_arrow(table.replace_schema_metadata(None)),
            versions=meta["versions"],
            seconds=0.0,
            truncated=meta["truncated"],
            cached=True,
        )
        return result, meta["read"]

    def put(self, key: str, tenant: str, answer: Answer) -> None:
        """Keep an answer, unless it is too large."""
        result, read = answer
        table = pa.table(result.table)
        if table.nbytes > LARGEST:
            return
        meta = {
            "columns": result.columns,
            "types": result.types,
            "versions": result.versions,
            "truncated": result.truncated,
            "read": read,
        }
        value = arrow_stream(table.replace_schema_metadata({_META: orjson.dumps(meta)}))
        names = f"answers:{_named(tenant)}"
        try:
            with self._client.pipeline() as pipeline:
                pipeline.set(key, value, ex=self._seconds)
                pipeline.lpush(names, key)
                pipeline.expire(names, self._seconds)
                length = cast(Any, pipeline).execute()[1]
            if length > MOST and (old := self._client.rpop(names, length - MOST)):
                self._client.unlink(*cast(list[bytes], old))
        except valkey.ValkeyError as error:
            log.info("An answer is not kept", exc_info=error)

    def once(self, key: str, work: Callable[[], Answer]) -> Answer:
        """Work out an answer, or wait for somebody who does: many who ask at once cost as much as one."""
        with self._guard:
            others = self._working.get(key)
            mine = Future[Answer]()
            if others is None:
                self._working[key] = mine
        if others is not None:
            try:
                return others.result()
            except Exception:  # they gave up, or had less time
                return work()
        try:
            answer = work()
            mine.set_result(answer)
            return answer
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._guard:
                del self._working[key]


@dataclass(frozen=True)
class Remembered:
    """The cache as one user meets it; see :class:`~lakehouse.serving.query.Memory`.

    Attributes:
        cache: The answers.
        tenant: Whose.
        views: ``layer.name`` → what the user sees of it.
        read: Filled with the columns of each table that were read.
        latest: Returns the version of a table, if that takes no looking.
    """

    cache: Cache
    tenant: str
    views: Mapping[str, View]
    read: dict[str, list[str]]
    latest: Callable[[str], int | None]

    def key(self, statement: Statement, versions: Versions, parameters: Parameters, limit: int) -> str | None:
        """Return what an answer is found by; ``None`` when it is not to be kept."""
        opened = any(self.views[name].reveal for name in versions)  # what was sealed is kept nowhere in the clear
        if opened or not statement.is_stable or not versions or None in versions.values():
            return None
        shown = sorted((name, self.views[name].key, version) for name, version in versions.items())
        asked = repr((statement.digest, parameters, limit, shown))  # which tells 1, 1.0, "1" and a date of that name apart
        return f"answer:{_named(self.tenant)}:{hashlib.sha256(asked.encode()).hexdigest()}"

    def get(self, key: str) -> QueryResult | None:
        """Return the answer that was given before, if there is one."""
        answer = self.cache.get(key)
        return None if answer is None else self._noted(answer)

    def once(self, key: str, work: Callable[[], QueryResult]) -> QueryResult:
        """Work an answer out, if nobody did meanwhile."""
        return self.get(key) or self._noted(self.cache.once(key, lambda: self._worked_out(key, work)))

    def _noted(self, answer: Answer) -> QueryResult:
        self.read.update(answer[1])
        return answer[0]

    def _worked_out(self, key: str, work: Callable[[], QueryResult]) -> Answer:
        answer = work(), dict(self.read)
        self.cache.put(key, self.tenant, answer)
        return answer


def _named(tenant: str) -> str:
    return hashlib.sha256(tenant.encode()).hexdigest()[:16]
