"""DuckDB as a calculator: it opens nothing, keeps within its memory, and stops when its time is up."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import cache
from typing import Any, TypeVar

import duckdb

from lakehouse.serving.pool import Pool

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
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET lock_configuration = true")  # global: of its cursors, too
    return connection


@cache
def own() -> duckdb.DuckDBPyConnection:
    """Return the DuckDB of the process itself, on whose cursors nothing of a user's text ever runs: making one takes long."""
    atexit.register(own.cache_clear)  # one that is left at the end of the process is complained about
    return sandbox()


class Sandboxes:
    """Sandboxes that are used again, each by one query at a time: opening one takes long. Safe to share between threads.

    A query gets a connection of its own to one. What it is given is known to that connection alone, and goes with it.
    """

    def __init__(self, most: int) -> None:
        """Open none yet.

        Args:
            most: How many are kept for later.
        """
        self._pool = Pool(lambda _: sandbox(), lambda used: used.close(), most)

    def take(self) -> duckdb.DuckDBPyConnection:
        """Return one that nobody uses."""
        return self._pool.take("")[0]

    def give_back(self, used: duckdb.DuckDBPyConnection) -> None:
        """Keep one for the next query, if it still works."""
        try:
            with used.cursor() as connection:
                connection.execute("SELECT 1")
        except duckdb.Error:
            used.close()
        else:
            self._pool.give("", used)

    def close(self) -> None:
        """Close those that wait."""
        self._pool.close()


class Late:
    """A connection to a sandbox that is opened when it is first needed, for who looks first whether the answer is known."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._sandbox: duckdb.DuckDBPyConnection | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __call__(self) -> duckdb.DuckDBPyConnection:
        """Return it; for one thread."""
        if self._connection is None:
            self._sandbox = self._sandboxes.take()
            self._connection = self._sandbox.cursor()
        return self._connection

    def interrupt(self) -> None:
        """Stop what runs in it, if anything does."""
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Let go of it."""
        if self._connection is not None and self._sandbox is not None:
            self._connection.close()
            self._sandboxes.give_back(self._sandbox)


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
