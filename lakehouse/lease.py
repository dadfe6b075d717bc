"""One writer for the tables of a workspace: a lease with a fencing token, kept in the control database.

The holder renews it from a thread; whoever finds it expired, or its process gone from this machine, takes it over with a higher
token. The holder proves before each commit that the token is still its own (:meth:`Lease.check`); what the check cannot see,
a pause between check and commit, is refused by the store: a commit file is only ever created, never replaced, and a batch's
transaction id is accepted once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from types import TracebackType

import psutil
import psycopg

from lakehouse.control import Control
from lakehouse.errors import LeaseHeldError, LeaseLostError

LAKE, FAST = "lake", "fast"
_WHAT = {LAKE: "tables", FAST: "live tables"}


class Lease:
    """The right to write this workspace's tables, or its live tables; a context manager."""

    def __init__(self, control: Control, *, seconds: int, name: str = LAKE) -> None:
        """Describe this process; :meth:`acquire` takes the lease.

        Args:
            control: The control database.
            seconds: How long the lease lives without being renewed.
            name: Which lane it is for.
        """
        self._name = name
        self._control = control
        self._seconds = seconds
        self._token = 0
        self._deadline = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def token(self) -> int:
        """The fencing token: higher than that of every earlier holder."""
        return self._token

    def acquire(self, holder: str) -> None:
        """Take the lease and keep it alive from a thread.

        Args:
            holder: What this process is, for the sentence that a second one gets.

        Raises:
            LeaseHeldError: A living process has it.
        """
        host, pid, started = socket.gethostname(), os.getpid(), psutil.Process().create_time()
        with self._control.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7462)")
            cursor.execute("SELECT *, expires_at > now() AS alive FROM tidemill.lease WHERE name = %s", (self._name,))
            row = cursor.fetchone()
            if row and row["alive"] and not (row["host"] == host and not _runs(row["pid"], row["process_started"])):
                raise LeaseHeldError(
                    f"The {_WHAT[self._name]} are being written by {row['holder']} (process {row['pid']} on {row['host']}); "
                    "stop it first, or wait until it is done."
                )
            token = (row["token"] if row else 0) + 1
            cursor.execute(
                "INSERT INTO tidemill.lease VALUES (%s, %s, %s, %s, %s, %s, now() + %s * interval '1 second') ON CONFLICT (name) "
                "DO UPDATE SET token = excluded.token, holder = excluded.holder, host = excluded.host, pid = excluded.pid, "
                "process_started = excluded.process_started, expires_at = excluded.expires_at",
                (self._name, token, holder, host, pid, started, self._seconds),
            )
        self._token = token
        self._deadline = time.monotonic() + self._seconds
        self._thread = threading.Thread(target=self._renew_forever, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Prove that this process still owns the tables; called before each commit.

        Raises:
            LeaseLostError: Another process took over, or the lease could not be renewed in time.
        """
        row = self._control.run("SELECT token, holder, pid FROM tidemill.lease WHERE name = %s", (self._name,))
        if not row or row[0]["token"] != self._token:
            taker = f"{row[0]['holder']} (process {row[0]['pid']})" if row else "nobody"
            raise LeaseLostError(f"The {_WHAT[self._name]} belong to {taker} now; this process has stopped writing.")
        if time.monotonic() > self._deadline:
            raise LeaseLostError("The lease could not be renewed in time; this process has stopped writing.")

    def release(self) -> None:
        """Give the lease back, so that the next process need not wait."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(psycopg.OperationalError):  # when the database is gone, the lease expires by itself
            self._control.run(
                "UPDATE tidemill.lease SET expires_at = now() WHERE name = %s AND token = %s", (self._name, self._token)
            )

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _renew_forever(self) -> None:
        while not self._stop.wait(self._seconds / 5):
            asked = time.monotonic()
            try:
                rows = self._control.run(
                    "UPDATE tidemill.lease SET expires_at = now() + %s * interval '1 second' WHERE name = %s AND token = %s "
                    "RETURNING token",
                    (self._seconds, self._name, self._token),
                )
            except psycopg.OperationalError:
                continue  # the deadline decides
            if not rows:
                return  # taken over; check() says so
            self._deadline = asked + self._seconds


def _runs(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1
    except psutil.NoSuchProcess:
        return False
