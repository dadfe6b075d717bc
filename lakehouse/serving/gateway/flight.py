"""The gateway for database clients: Arrow Flight SQL, with the same users, policy, turns and record as over HTTP.

A client signs in with a name and a password (Basic, at the handshake) or brings a token (``Authorization: Bearer``). The server keeps
nothing between two calls: what a ticket or a prepared statement says is what the client asked for, and it is answered as the
user that brings it may see it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import flight

from lakehouse.errors import (
    AccessDeniedError,
    AuditError,
    AuthenticationError,
    PolicyError,
    QueryFailedError,
    QueryRefusedError,
    QuotaError,
    TidemillError,
)
from lakehouse.security.issuer import LocalIssuer
from lakehouse.security.users import User
from lakehouse.serving.gateway import flight_catalog as catalog
from lakehouse.serving.gateway.answers import arrow_stream
from lakehouse.serving.gateway.door import Door
from lakehouse.serving.gateway.flight_messages import pack, plain, unpack
from lakehouse.serving.gateway.gateway import Question
from lakehouse.serving.gateway.signon import WRONG_SECONDS
from lakehouse.serving.gateway.turns import Turns, unless_gone
from lakehouse.serving.query import QueryResult
from lakehouse.serving.sandbox import Cancel
from lakehouse.serving.statement import parameter_names
from lakehouse.settings import GatewaySettings

log = logging.getLogger(__name__)

PURPOSE = "x-tidemill-purpose"
"""The header that says what for."""

_WHO = "who"
_SQL = b"sql"


@dataclass(frozen=True)
class Statement:
    """What a ticket or a prepared statement holds.

    Attributes:
        sql: The text.
        parameters: Values of ``?`` and ``$1``; ``None``: it has none.
    """

    sql: str
    parameters: Sequence[Any] | None = None

    def pack(self, rows: pa.Table | None = None) -> bytes:
        """Return it as bytes, with a row of parameters."""
        held = pa.table({}) if rows is None else rows
        return arrow_stream(held.replace_schema_metadata({_SQL: self.sql.encode()}))

    @classmethod
    def unpack(cls, handle: bytes) -> Statement:
        """Read what :meth:`pack` wrote.

        Raises:
            QueryRefusedError: It did not.
        """
        try:
            rows = pa.ipc.open_stream(handle).read_all()
            sql = rows.schema.metadata[_SQL].decode()
        except (pa.ArrowInvalid, TypeError, KeyError, UnicodeDecodeError, OSError) as error:
            raise QueryRefusedError("That is no ticket or prepared statement of this gateway.") from error
        if rows.num_columns and rows.num_rows != 1:
            raise QueryRefusedError(f"A query is asked with one row of parameters, and these are {rows.num_rows:,}.")
        return cls(sql, [column[0].as_py() for column in rows.columns] if rows.num_columns else None)


@dataclass(frozen=True)
class _Caller(flight.ServerMiddleware):  # type: ignore[misc]  # pyarrow has no types
    """Who calls, and what for; sends the token of somebody who has just signed in."""

    user: User
    purpose: str | None
    token: str | None

    def sending_headers(self) -> dict[str, str]:
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


class _Doorman(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Lets in who says who they are."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def start_call(self, info: Any, headers: Mapping[str, Sequence[str]]) -> _Caller:
        with _told():
            scheme, _, offered = next(iter(headers.get("authorization", [])), "").partition(" ")
            purpose = next(iter(headers.get(PURPOSE, [])), None)
            token = (
                self._sign_in(self._door.issuer, offered) if scheme.lower() == "basic" and self._door.issuer is not None else None
            )
            if token is None and scheme.lower() != "bearer":
                raise AuthenticationError("Sign in with a name and a password, or send a token: Authorization: Bearer …")
            return _Caller(self._door.identity.user(token or offered), purpose, token)

    def _sign_in(self, issuer: LocalIssuer, offered: str) -> str:
        try:
            padded = offered.rstrip("=") + "=" * (-len(offered.rstrip("=")) % 4)  # Go's clients send none
            name, _, password = base64.b64decode(padded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise AuthenticationError("Name and password cannot be read.") from error
        try:
            return self._door.gateway.sign_in(issuer, name, password)
        except AuthenticationError:
            time.sleep(WRONG_SECONDS)
            raise


class FlightServer(flight.FlightServerBase):  # type: ignore[misc]
    """Answers Flight SQL in threads of its own, from when it is made until :meth:`close`."""

    def __init__(self, location: str, door: Door, settings: GatewaySettings, certificate: str | None = None) -> None:
        """Listen.

        Args:
            location: ``grpc://host:port``, or ``grpc+tls://``.
            door: What answers, and who knows the users.
            settings: Its bounds.
            certificate: PEM text of a certificate, its chain and its key, for TLS.
        """
        shown = [flight.CertKeyPair(certificate, certificate)] if certificate else None
        super().__init__(location, auth_handler=_Handshake(), middleware={_WHO: _Doorman(door)}, tls_certificates=shown)
        self._gateway = door.gateway
        self._settings = settings
        self._turns = Turns(settings.at_once, settings.tenant_at_once, settings.tenant_waiting)
        self._threads = ThreadPoolExecutor(settings.at_once, thread_name_prefix="flight-sql")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="flight", daemon=True).start()

    def close(self) -> None:
        """End; calls that are open are cut off."""
        self.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def get_flight_info(self, context: Any, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        """Say where the answer to a command is: here."""
        with _told():
            name, message = unpack(descriptor.command or b"")
            match name:
                case "CommandStatementQuery":
                    handle = Statement(message.query).pack()
                case "CommandPreparedStatementQuery":
                    handle = message.prepared_statement_handle
                case _:
                    return _info(descriptor, descriptor.command, catalog.schema(name, message))
            return _info(descriptor, pack("TicketStatementQuery", statement_handle=handle), None)

    def get_schema(self, context: Any, descriptor: flight.FlightDescriptor) -> flight.SchemaResult:
        """Say what columns the answer to a command has."""
        with _told():
            name, message = unpack(descriptor.command or b"")
            match name:
                case "CommandStatementQuery":
                    return flight.SchemaResult(self._describe(context, Statement(message.query)))
                case "CommandPreparedStatementQuery":
                    return flight.SchemaResult(self._describe(context, Statement.unpack(message.prepared_statement_handle)))
                case _:
                    return flight.SchemaResult(catalog.schema(name, message))

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.RecordBatchStream:
        """Answer."""
        with _told():
            name, message = unpack(ticket.ticket)
            if name == "TicketStatementQuery":
                return flight.RecordBatchStream(self._answer(context, Statement.unpack(message.statement_handle)))
            who = context.get_middleware(_WHO)
            return flight.RecordBatchStream(catalog.answer(name, message, self._gateway, who.user, who.purpose))

    def do_action(self, context: Any, action: flight.Action) -> Iterator[bytes]:
        """Prepare a statement, or let go of one."""
        with _told():
            if action.type == "ClosePreparedStatement":
                return iter(())
            name, message = unpack(action.body.to_pybytes())
            if name != "ActionCreatePreparedStatementRequest":
                raise QueryRefusedError(f"The gateway only answers SELECT, and this is {action.type[:60]}.")
            statement = Statement(message.query)
            parameters = pa.schema([(name, pa.string()) for name in parameter_names(statement.sql)])
            # What columns it has depends on its parameters, which come later.
            columns = b"" if len(parameters) else self._describe(context, statement).serialize().to_pybytes()
            return iter(
                [
                    pack(
                        "ActionCreatePreparedStatementResult",
                        prepared_statement_handle=statement.pack(),
                        dataset_schema=columns,
                        parameter_schema=parameters.serialize().to_pybytes(),
                    )
                ]
            )

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[flight.FlightInfo]:
        """List nothing: what there is is asked for by the commands of Flight SQL."""
        return iter(())

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """Say which actions there are."""
        return [("CreatePreparedStatement", "Prepare a SELECT."), ("ClosePreparedStatement", "Let go of one.")]

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Take the parameters of a prepared statement; what is answered is the statement with them."""
        with _told():
            name, message = unpack(descriptor.command or b"")
            if name != "CommandPreparedStatementQuery":
                raise QueryRefusedError("The gateway only answers SELECT; nothing can be written.")
            statement = Statement.unpack(message.prepared_statement_handle)
            handle = statement.pack(reader.read_all().replace_schema_metadata(None))
            Statement.unpack(handle)
            writer.write(pa.py_buffer(plain("DoPutPreparedStatementResult", prepared_statement_handle=handle)))

    def _answer(self, context: Any, statement: Statement) -> pa.Table:
        """Return all rows: a client that cannot be told that there are more would take some for all."""
        result = self._ask(context, statement, self._settings.max_rows)
        if result.truncated:
            raise QueryFailedError(f"The answer has more than {self._settings.max_rows:,} rows; filter or aggregate more.")
        return pa.table(result.table)

    def _describe(self, context: Any, statement: Statement) -> pa.Schema:
        return pa.table(self._ask(context, statement, 0).table).schema

    def _ask(self, context: Any, statement: Statement, limit: int) -> QueryResult:
        who = context.get_middleware(_WHO)
        question = Question(
            sql=statement.sql,
            parameters=statement.parameters,
            purpose=who.purpose,
            limit=limit,
            timeout=self._settings.max_seconds,
        )
        cancel = Cancel()

        async def is_gone() -> bool:
            return bool(context.is_cancelled())

        async def in_turn() -> QueryResult:
            async with self._turns.turn(who.user.tenant):
                asked = self._loop.run_in_executor(self._threads, self._gateway.ask, who.user, question, cancel)
                return await unless_gone(is_gone, cancel, asked)

        return asyncio.run_coroutine_threadsafe(in_turn(), self._loop).result()


def _info(descriptor: Any, ticket: bytes, schema: pa.Schema | None) -> flight.FlightInfo:
    return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(ticket, [])], -1, -1)


class _Handshake(flight.ServerAuthHandler):  # type: ignore[misc]
    """Answers a handshake; who is there is known by the headers of each call."""

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        """Take anybody: nothing is given for it."""

    def is_valid(self, token: bytes) -> str:
        """Take anything for the same reason."""
        return ""


@contextmanager
def _told() -> Iterator[None]:
    """Raise what Flight's clients know, with the sentence and nothing else."""
    try:
        yield
    except AuthenticationError as error:
        raise flight.FlightUnauthenticatedError(str(error)) from None
    except AccessDeniedError as error:
        raise flight.FlightUnauthorizedError(str(error)) from None
    except (QuotaError, PolicyError, AuditError) as error:
        raise flight.FlightUnavailableError(str(error)) from None
    except TidemillError as error:  # of Flight's own: any other would bring the traceback along
        raise flight.FlightServerError(str(error)) from None
    except Exception:
        log.exception("A question over Flight SQL failed")
        raise flight.FlightInternalError("The gateway failed; its log says why.") from None
