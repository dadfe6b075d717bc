"""Roles of PostgreSQL that can read what one view shows of one live table, and nothing else.

Each view of a live table has a login role of its own, which may read the columns that the view needs, of the rows that its row-level
security policy lets through. The policy is compiled from the view's conditions; nothing of it is a variable of the session, so there is
nothing that a session could set. Row-level security is forced: the owner, who writes the table, has a policy that lets all through.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakehouse.errors import AccessDeniedError, QueryFailedError
from lakehouse.security.policy import OPERATORS, Test, View
from lakehouse.storage.partitions import lock

_OWNER = "tidemill_owner"


class HotRoles:
    """Makes the roles; safe to share between threads and processes, which all make the same ones."""

    def __init__(self, dsn: str, master: bytes) -> None:
        """Be able to make roles.

        Args:
            dsn: Of the role that owns the hot store and may create roles.
            master: The secret that passwords are made of.
        """
        self._dsn = dsn
        self._master = master
        # Roles are the whole server's, which may hold other workspaces too.
        self.prefix = f"tidemill_{self._digest('roles')[:8]}_"

    def reader(self, connection: psycopg.Connection[Any], name: str, view: View, types: Mapping[str, str]) -> str:
        """Return the connection string of the role that reads a view; it is made when it is not there.

        Args:
            connection: Of the owner.
            name: Of the table in schema ``hot``.
            view: What is shown of it.
            types: Column → type of PostgreSQL.

        Raises:
            AccessDeniedError: The policy does not fit the table.
            QueryFailedError: The owner may not create roles.
        """
        role = self.prefix + self._digest(repr((name, view.key, sorted(types.items()))))[:32]
        password = self._digest(f"role {role}")
        there = connection.execute(
            "SELECT 1 FROM pg_policies WHERE schemaname = 'hot' AND tablename = %s AND policyname = %s AND %s = ANY(roles)",
            (name, role, role),
        ).fetchone()
        if there is None:
            try:
                self._make(connection, sql.Identifier("hot", name), role, password, view, types)
            except psycopg.errors.InsufficientPrivilege as error:
                raise QueryFailedError(
                    "PostgreSQL's role of Tidemill may not create roles, so live tables are shown to nobody: give it CREATEROLE; "
                    "`tidemill down` and `up` do that for the embedded server."
                ) from error
            except (psycopg.errors.ProgrammingError, psycopg.errors.DataError) as error:
                raise AccessDeniedError(f"The policy on {view.table} does not fit it; nothing of the table is shown.") from error
        return make_conninfo(self._dsn, user=role, password=password)

    def _make(
        self,
        connection: psycopg.Connection[Any],
        table: sql.Identifier,
        role: str,
        password: str,
        view: View,
        types: Mapping[str, str],
    ) -> None:
        named = sql.Identifier(role)
        names = {name.lower(): name for name in types}
        tested = {names[test.column.lower()] for test in view.rows}
        if view.anonymous is not None and view.anonymous.person:
            tested.add(names[view.anonymous.person.lower()])
        columns = [name for name in types if view.shows(name) or name in tested]
        encrypted = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        with connection.transaction():
            lock(connection)
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT").format(named))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(named, sql.Literal(encrypted)))
            connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(named))
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA hot TO {}").format(named))
            allowed = sql.SQL(", ").join(map(sql.Identifier, columns))
            connection.execute(sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(allowed, table, named))
            self._force(connection, table)
            shown = sql.SQL(" AND ").join(_tested(test, names[test.column.lower()]) for test in view.rows)
            connection.execute(
                sql.SQL("CREATE POLICY {} ON {} FOR SELECT TO {} USING ({})").format(
                    named, table, named, shown if view.rows else sql.SQL("true")
                )
            )

    def _force(self, connection: psycopg.Connection[Any], table: sql.Identifier) -> None:
        """Force row-level security on a table, once."""
        row = connection.execute(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)", (table.as_string(None),)
        ).fetchone()
        if row is not None and row[0]:
            return
        connection.execute(
            sql.SQL("CREATE POLICY {} ON {} TO CURRENT_USER USING (true) WITH CHECK (true)").format(sql.Identifier(_OWNER), table)
        )
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
        connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table))

    def drop_all(self) -> None:
        """Drop all of these roles, those of policies that are no more among them; who reads next makes them anew."""
        with psycopg.connect(self._dsn, connect_timeout=5) as connection:
            lock(connection)
            rows = connection.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (self.prefix,)).fetchall()
            for (role,) in rows:
                named = sql.Identifier(role)
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(named))  # who may drop what it was given
                connection.execute(sql.SQL("DROP OWNED BY {}").format(named))
                connection.execute(sql.SQL("DROP ROLE {}").format(named))

    def _digest(self, text: str) -> str:
        return hmac.digest(self._master, text.encode(), hashlib.sha256).hex()


def _tested(test: Test, column: str) -> sql.Composable:
    """Return a condition of the policy as PostgreSQL's."""
    name = sql.Identifier(column)
    if not test.values:
        return sql.SQL("false")
    values = [sql.Literal(value) for value in test.values]
    if test.operator == "in":
        return sql.SQL("{} IN ({})").format(name, sql.SQL(", ").join(values))
    joint = sql.SQL(" AND " if test.of_all else " OR ")
    compared = (sql.SQL("{} {} {}").format(name, sql.SQL(OPERATORS[test.operator]), value) for value in values)
    return sql.SQL("({})").format(joint.join(compared))
