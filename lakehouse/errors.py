"""Every error that Tidemill raises on purpose: one root, one sentence each."""

from __future__ import annotations


class TidemillError(Exception):
    """The root: its message says what is wrong and what to do, and the CLI prints it without a traceback."""


class JarError(TidemillError):
    """A JVM jar could not be fetched, or is not the one that the lock names."""


class WorkspaceError(TidemillError):
    """The folder is no workspace, or its ``tidemill.toml`` is wrong."""


class DeclarationError(TidemillError):
    """A table is declared in a way that cannot run."""


class UnknownNameError(TidemillError):
    """A name that nobody declared; the message lists those that would have worked."""


class SuiteError(TidemillError):
    """An expectation suite cannot be loaded, or an expectation in it cannot be a gate."""


class SessionError(TidemillError):
    """The Spark driver did not start."""


class StackError(TidemillError):
    """An embedded server did not start, stop or answer."""


class SettingsError(TidemillError):
    """A setting is missing or wrong; the message names it."""


class GateFailedError(TidemillError):
    """A record broke an expectation whose action is ``fail``; nothing of its batch was written."""


class SourceError(TidemillError):
    """A source cannot be reached, read or written."""


class DataLossError(TidemillError):
    """The topic was deleted, recreated, or expired records before they were read."""


class LeaseHeldError(TidemillError):
    """Another process owns the tables; the message names it."""


class LeaseLostError(TidemillError):
    """This process no longer owns the tables, and must not write."""


class AccountError(TidemillError):
    """A record is in no place, or in two."""


class QueryRefusedError(TidemillError):
    """The SQL text is not one read-only SELECT over known tables."""


class QueryTooLargeError(QueryRefusedError):
    """A query would read more than one process should; a larger engine could still answer it."""


class QueryFailedError(TidemillError):
    """A query was allowed, but could not be answered."""


class PolicyError(TidemillError):
    """The policy of a workspace is missing or wrong, so nobody may see anything."""


class AccessDeniedError(TidemillError):
    """The policy does not let this user see that."""


class AuditError(TidemillError):
    """What somebody asks cannot be written down, or what was written down does not hold."""


class KeyringError(TidemillError):
    """Keys of personal data cannot be used."""


class AuthenticationError(TidemillError):
    """A token or password does not say who somebody is."""


class QuotaError(TidemillError):
    """A tenant asks for more than its share."""


class ServeError(TidemillError):
    """The pages cannot be served."""


class ScaffoldError(TidemillError):
    """A workspace, or a file in one, cannot be made."""
