"""Starts, stops and shows the embedded servers of a workspace."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lakehouse.errors import StackError
from lakehouse.security.authority import Authority
from lakehouse.settings import PARTS, Part, Settings, external_parts
from lakehouse.stack.kafka import Kafka
from lakehouse.stack.ports import LOOPBACK, answers
from lakehouse.stack.postgres import Postgres
from lakehouse.stack.process import CLOCK_SLACK, Identity
from lakehouse.stack.s3 import S3
from lakehouse.stack.server import EndedError, Server, Site
from lakehouse.stack.state import StackState, exclusive
from lakehouse.stack.valkey import Valkey
from lakehouse.workspace import Workspace

State = Literal["running", "unhealthy", "crashed", "stopped", "external"]
Report = Callable[[Part, str], None]

SERVERS: dict[Part, type[Server]] = {server.part: server for server in (Kafka, S3, Postgres, Valkey)}
_ATTEMPTS = 3
_ROOM_MB = 512


@dataclass(frozen=True)
class ServerStatus:
    """How one server is.

    Attributes:
        part: Which one.
        state: ``running`` (it accepts connections), ``unhealthy`` (the process is there, and does not accept any),
            ``crashed`` (it ended, and nobody stopped it), ``stopped``, or ``external`` (not started by Tidemill).
        address: ``host:port``, never with credentials.
        pid: Its process.
        log: Where its output goes.
    """

    part: Part
    state: State
    address: str | None
    pid: int | None
    log: Path | None


def up(workspace: Workspace, report: Report = lambda part, text: None, secure: bool | None = None) -> list[ServerStatus]:
    """Start the servers that do not run, and wait until each does real work.

    Args:
        workspace: Whose servers. Parts with an address of their own are left alone.
        report: Called, from several threads, with what happens to which part.
        secure: Whether they speak TLS only, and encrypt buckets. It is remembered; when left out, it is as it was, or else as the
            services of the workspace are.

    Raises:
        StackError: A server did not start; the others go on running.
    """
    settings = Settings.load(workspace)
    external = external_parts(workspace)
    own = [part for part in PARTS if part not in external]

    def waiting() -> None:
        for part in own:
            report(part, "waiting for another tidemill command")

    with exclusive(workspace, waiting):
        state = StackState.load(workspace)
        for part in external:
            _put_down(workspace, state, part, report)
        _need_room(workspace)
        before = bool(state.secure)
        wanted = secure if secure is not None else (settings.encrypts_services if state.secure is None else state.secure)
        if wanted != before:
            for part in own:
                _put_down(workspace, state, part, report)
        if wanted or secure is not None:
            with state.change():
                state.secure = wanted
        if wanted:
            Authority(workspace).renew(settings)
        with ThreadPoolExecutor(len(PARTS)) as pool:
            started = [pool.submit(_bring_up, workspace, state, part, settings, report) for part in own]
        if failures := [error for future in started if (error := future.exception())]:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]
    return status(workspace)


def down(workspace: Workspace, wipe: bool = False, report: Report = lambda part, text: None) -> list[ServerStatus]:
    """Stop the servers; their data stays.

    Args:
        workspace: Whose servers.
        wipe: Erase the data, the credentials and everything else that was generated.
        report: Called, from several threads, with what happens to which part.

    Raises:
        StackError: The folder cannot be written.
    """

    def waiting() -> None:
        for part in PARTS:
            report(part, "waiting for another tidemill command")

    with exclusive(workspace, waiting):
        try:
            state = StackState.load(workspace)
        except StackError:
            if not wipe:
                raise
            state = StackState(workspace.state / "stack.json")
        with ThreadPoolExecutor(len(PARTS)) as pool:
            list(pool.map(lambda part: _put_down(workspace, state, part, report), PARTS))
        if wipe:
            _erase(workspace.state)
    return status(workspace)


def status(workspace: Workspace) -> list[ServerStatus]:
    """Return how the servers are, within about a second; changes nothing."""
    state = StackState.load(workspace)
    external = external_parts(workspace)
    settings = Settings.load(workspace) if external else None

    def one(part: Part) -> ServerStatus:
        if settings and part in external:
            return ServerStatus(part, "external", _host(settings.require(part)), None, None)
        server = _server(workspace, state, part)
        identity = state.pids.get(part)
        if identity is None:
            return ServerStatus(part, "stopped", None, None, server.site.log)
        address = f"{LOOPBACK}:{server.port}"
        if identity.live() is None:
            return ServerStatus(part, "crashed", address, None, server.site.log)
        condition: State = "running" if answers(server.port) else "unhealthy"
        return ServerStatus(part, condition, address, identity.pid, server.site.log)

    with ThreadPoolExecutor(len(PARTS)) as pool:
        return list(pool.map(one, PARTS))


def _server(workspace: Workspace, state: StackState, part: Part, bucket: str | None = None) -> Server:
    folders = workspace.state / "data" / part, workspace.state / "logs" / f"{part}.log"
    authority = Authority(workspace) if state.secure else None
    site = Site(*folders, dict(state.ports.get(part, {})), dict(state.secrets.get(part, {})), authority)
    server = SERVERS[part]
    return server(site, bucket) if issubclass(server, S3) and bucket else server(site)


def _bring_up(workspace: Workspace, state: StackState, part: Part, settings: Settings, report: Report) -> None:
    if (identity := state.pids.get(part)) and identity.live():
        state.keep_secrets(part, SERVERS[part].secret_names)
        server = _server(workspace, state, part, settings.s3.bucket)
        try:
            _refuse_old(server, identity)
            server.probe()
        except Exception:  # whatever a client library raises
            report(part, "does not answer; restarting")
            server.stop(identity)
        else:
            _adopt(state, server)
            report(part, "runs already")
            return
    _server(workspace, state, part).clear()  # what is left of it, and holds its ports
    for attempt in range(1, _ATTEMPTS + 1):
        state.keep_ports(part, SERVERS[part].port_names)
        state.keep_secrets(part, SERVERS[part].secret_names)
        server = _server(workspace, state, part, settings.s3.bucket)
        report(part, "starting")
        identity = server.start()
        with state.change():
            state.pids[part] = identity
        try:
            server.wait_ready(identity)
            _adopt(state, server)
        except StackError as error:
            server.stop(identity)
            with state.change():
                state.pids.pop(part, None)
            if attempt == _ATTEMPTS or not isinstance(error, EndedError):
                raise
            report(part, "did not start; trying again")
        else:
            report(part, f"ready on {LOOPBACK}:{server.port}")
            return


def _refuse_old(server: Server, identity: Identity) -> None:
    """Raise unless a server that runs shows the certificate that is there now."""
    if server.site.authority:
        made = server.site.authority.certificate.stat().st_mtime
        if made > identity.start_time + CLOCK_SLACK:
            raise StackError(f"{server.part} shows a certificate that was replaced.")


def _adopt(state: StackState, server: Server) -> None:
    try:
        server.settle()
    except Exception as error:  # whatever a client library raises
        raise StackError(f"{server.part} runs, but could not be set up: {error}") from error
    with state.change():
        state.settings[server.part] = server.settings()


def _put_down(workspace: Workspace, state: StackState, part: Part, report: Report) -> None:
    server = _server(workspace, state, part)
    identity = state.pids.get(part)
    if identity and identity.live():
        report(part, "stopping")
    server.stop(identity)
    with state.change():
        state.pids.pop(part, None)
        state.settings.pop(part, None)
    report(part, "stopped")


def _need_room(workspace: Workspace) -> None:
    if (free := shutil.disk_usage(workspace.state).free // 2**20) < _ROOM_MB:
        raise StackError(f"Only {free} MB are free where {workspace.state} lies: free {_ROOM_MB} MB or more, and try again.")


def _erase(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == "stack.lock":  # held right now; another command may wait for it
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _host(address: str) -> str:
    """Return an address without its credentials."""
    return urlsplit(address).netloc.rpartition("@")[2] if "://" in address else address
