"""DuckDB as a calculator: it opens nothing, keeps within its memory, and stops when its time is up."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import cache
from typing import Any, TypeVar

import duckdb

MEMORY = "1GiB"
_GRACE = 2.0  # seconds that an interrupted query gets to notice

T = TypeVar("T")


def sandbox() -> duckdb.DuckDBPyConnection:
    """Return an empty in-memory DuckDB without access to files, the network or Python's variables, its settings locked."""
    connection = duckdb.connect(
        config={
            "enable_external_access": False,
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "memory_limit": MEMORY,
            "temp_directory": "",
        }
    )
    connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
    return connection


@cache
def own() -> duckdb.DuckDBPyConnection:
    """Return the DuckDB of the process itself, on whose cursors nothing of a user's text ever runs: making one takes long."""
    atexit.register(own.cache_clear)  # one that is left at the end of the process is complained about
    return sandbox()


class Spares:
    """Sandboxes that are open before somebody needs one; each is used once, by one query. Safe to share between threads."""

    def __init__(self, count: int) -> None:
        """Open some, in a thread of its own.

        Args:
            count: How many wait.
        """
        self._waiting: queue.Queue[duckdb.DuckDBPyConnection] = queue.Queue(count)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="spare-sandboxes", daemon=True)
        self._thread.start()

    def __call__(self) -> duckdb.DuckDBPyConnection:
        """Return one that nobody used."""
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return sandbox()

    def close(self) -> None:
        """Close those that wait."""
        self._closed.set()
        while self._thread.is_alive():
            self._drain()
            self._thread.join(0.05)
        self._drain()

    def _fill(self) -> None:
        while not self._closed.is_set():
            self._waiting.put(sandbox())

    def _drain(self) -> None:
        while not self._waiting.empty():
            self._waiting.get_nowait().close()


class Late:
    """A sandbox that is opened when it is first needed, for who looks first whether the answer is known."""

    def __init__(self, open_sandbox: Callable[[], duckdb.DuckDBPyConnection] = sandbox) -> None:
        self._open = open_sandbox
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __call__(self) -> duckdb.DuckDBPyConnection:
        """Return it; for one thread."""
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def interrupt(self) -> None:
        """Stop what runs in it, if anything does."""
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            self._connection.close()


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


class Cancel:
    """What gives a query up before its time; safe to share between threads."""

    def __init__(self) -> None:
        self.asked: Future[None] = Future()

    def __call__(self) -> None:
        """Give it up."""
        if not self.asked.done():
            self.asked.set_result(None)


def within(seconds: float, late: Late, work: Callable[[], T], cancel: Cancel | None = None) -> T:
    """Run ``work`` with a deadline, interrupt its query then, or when it is cancelled, and close its sandbox.

    It runs in a thread of its own, because DuckDB in the main thread would not let Ctrl-C through. A function that does not
    notice the interruption is left behind: it ends with the process.

    Raises:
        TimeoutError: The time was up.
        CancelledError: It was cancelled.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="query", daemon=True)
    thread.start()
    try:
        waited: list[Future[Any]] = [done] if cancel is None else [done, cancel.asked]
        wait(waited, seconds, FIRST_COMPLETED)
        if not done.done():
            raise TimeoutError if cancel is None or not cancel.asked.done() else CancelledError
    except BaseException:  # KeyboardInterrupt among them
        until = time.monotonic() + _GRACE
        while thread.is_alive() and time.monotonic() < until:
            late.interrupt()
            thread.join(0.05)
        raise
    finally:
        if not thread.is_alive() or done.done():
            thread.join()
            late.close()
    return done.result()
