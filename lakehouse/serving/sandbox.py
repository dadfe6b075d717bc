"""DuckDB as a calculator: it opens nothing, keeps within its memory, and stops when its time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
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


def within(seconds: float, connection: duckdb.DuckDBPyConnection, work: Callable[[], T], cancel: Cancel | None = None) -> T:
    """Run ``work`` with a deadline, interrupt its query then, or when it is cancelled, and close the connection.

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
            connection.interrupt()
            thread.join(0.05)
        raise
    finally:
        if not thread.is_alive() or done.done():
            thread.join()
            connection.close()
    return done.result()
