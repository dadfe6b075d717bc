"""What every embedded server has: a place, a start, a readiness check, a stop, a log, and a section of the settings."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.errors import StackError
from lakehouse.settings import Part, Settings
from lakehouse.stack import door
from lakehouse.stack.process import Identity, leftovers, spawn, stop

if TYPE_CHECKING:
    from lakehouse.security.authority import Authority

_LOG_LIMIT = 16 * 1024 * 1024
_TAIL_LINES = 12


class EndedError(StackError):
    """The server ended while it started; starting it again, on other ports where those are taken, may help."""


@dataclass(frozen=True)
class Site:
    """Where one server of one workspace lives.

    Attributes:
        folder: Its data, and its working directory; erased by ``down --wipe``.
        log: Its output.
        ports: Its ports by name.
        secrets: Its generated credentials by name.
        authority: Whose certificate it shows; ``None``: it speaks in plain text.
    """

    folder: Path
    log: Path
    ports: dict[str, int]
    secrets: dict[str, str]
    authority: Authority | None = None


class Server(ABC):
    """One embedded server; subclasses say what is special about theirs."""

    part: ClassVar[Part]
    port_names: ClassVar[tuple[str, ...]]
    secret_names: ClassVar[tuple[str, ...]] = ()
    process_names: ClassVar[tuple[str, ...]]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = 90
    stop_seconds: ClassVar[float] = 30
    protocol: ClassVar[str | None] = None

    def __init__(self, site: Site) -> None:
        self.site = site
        self._door: Identity | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Bring the folder into a state from which the server can start: format it once, write its configuration."""

    @abstractmethod
    def argv(self) -> list[str]:
        """Return the command line; no secrets in it."""

    @abstractmethod
    def probe(self) -> None:
        """Raise any exception unless the server does real work for its credentials.

        Raises:
            StackError: It never will; waiting and starting again would not help.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return its section of ``Settings``."""

    @property
    def socket(self) -> str | None:
        """Name of the Unix socket in its folder, when it has no TLS of its own and there has to be some."""
        return None

    @property
    def known(self) -> Settings:
        """What a client knows when it knows this server alone."""
        kind = Settings.model_fields[self.part].annotation
        return Settings.model_construct(**{self.part: kind.model_validate(self.settings())})  # type: ignore[union-attr]

    def env(self) -> dict[str, str]:
        """Return what is added to the environment."""
        return {}

    def settle(self) -> None:  # noqa: B027 - most servers need nothing
        """Make what a user expects to find in the running server; may run any number of times."""

    @property
    def port(self) -> int:
        """The port that clients use."""
        return self.site.ports[self.port_names[0]]

    def start(self) -> Identity:
        """Start the process, after ending what is left of an earlier one on the same data.

        Raises:
            StackError: It cannot be started on this machine.
        """
        self.clear()
        try:
            self.site.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.site.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.site.log.exists() and self.site.log.stat().st_size > _LOG_LIMIT:
                self.site.log.replace(self.site.log.with_suffix(".log.1"))
            self.prepare()
            if self.site.authority and self.socket:
                self._door = door.open_door(
                    self.site.folder, self.site.log, self.port, self.socket, self.site.authority.certificate, self.protocol
                )
            return spawn(self.argv(), folder=self.site.folder, log=self.site.log, env=self.env())
        except OSError as error:
            raise StackError(f"{self.part} cannot be started: {error}; `tidemill doctor` looks for the cause.") from error

    def wait_ready(self, identity: Identity) -> None:
        """Wait until the server works.

        Raises:
            EndedError: It ended; the message quotes its log.
            StackError: It did not answer in time, or never will.
        """
        deadline = time.monotonic() + self.start_seconds
        while True:
            # Looked at before probing: an answer may come from somebody else's server on our port.
            alive = all(process.live() for process in (identity, self._door) if process)
            try:
                self.probe()
            except StackError:
                raise
            except Exception as error:  # whatever a client library raises, the server is not ready
                if not alive:
                    raise EndedError(f"{self.part} ended while it started.{self._quote()}") from error
                if time.monotonic() > deadline:
                    raise StackError(
                        f"{self.part} did not answer within {self.start_seconds:.0f} seconds ({error}).{self._quote()}"
                    ) from error
                time.sleep(0.1)
            else:
                if alive:
                    return
                raise EndedError(f"{self.part} ended, and another program answers on its port.{self._quote()}")

    def stop(self, identity: Identity | None) -> None:
        """Stop the server gracefully, and kill it when that takes too long."""
        if identity and (process := identity.live()):
            stop([process], how=self.stop_signal, seconds=self.stop_seconds)
        self.clear()

    def clear(self) -> None:
        """End processes that still work on the data although no record names them."""
        if found := leftovers(self.site.folder, (*self.process_names, door.PROCESS)):
            stop(found, how=self.stop_signal, seconds=self.stop_seconds)

    def _quote(self) -> str:
        try:
            with self.site.log.open(errors="replace") as log:
                lines = deque(log, _TAIL_LINES)
        except OSError:
            return ""
        return f" The end of {self.site.log}:\n" + "".join(lines).rstrip()
