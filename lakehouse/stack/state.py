"""What ``tidemill up`` remembers about its servers: ``.tidemill/stack.json``, readable by its owner only."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lakehouse.errors import StackError
from lakehouse.settings import PARTS, Part, embedded_path
from lakehouse.stack import ports
from lakehouse.stack.process import Identity
from lakehouse.workspace import Workspace


@dataclass
class StackState:
    """The remembered facts, saved after each change.

    Attributes:
        path: The file.
        settings: For each running part its section of ``Settings``; ``down`` removes it.
        ports: For each part its ports by name; kept by ``down``.
        secrets: For each part its generated credentials by name; kept by ``down``, for the data knows them too.
        pids: For each started part its process.
        secure: Whether they speak TLS only; ``None``: nobody has said so, nor that they shall not.
    """

    path: Path
    settings: dict[Part, dict[str, Any]] = field(default_factory=dict)
    ports: dict[Part, dict[str, int]] = field(default_factory=dict)
    secrets: dict[Part, dict[str, str]] = field(default_factory=dict)
    pids: dict[Part, Identity] = field(default_factory=dict)
    secure: bool | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @classmethod
    def load(cls, workspace: Workspace) -> StackState:
        """Read the file; without one, nothing is remembered.

        Raises:
            StackError: The file is not what ``up`` wrote.
        """
        path = embedded_path(workspace)
        try:
            found = json.loads(path.read_text())
            pids = {part: Identity(**identity) for part, identity in found.get("pids", {}).items()}
            sections: list[dict[Part, Any]] = [
                {part: dict(values) for part, values in found.get(name, {}).items() if part in PARTS}
                for name in ("settings", "ports", "secrets")
            ]
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise StackError(f"{path} cannot be read ({error}); `tidemill down --wipe` starts afresh.") from error
        settings, ports_, secrets_ = sections
        return cls(path, settings, ports_, secrets_, pids, found.get("secure"))

    def save(self) -> None:
        """Replace the file; a reader sees the old content or the new."""
        content = {
            "secure": self.secure,
            "settings": self.settings,
            "ports": self.ports,
            "secrets": self.secrets,
            "pids": {part: asdict(identity) for part, identity in self.pids.items()},
        }
        write_private(self.path, json.dumps(content, indent=2))

    @contextmanager
    def change(self) -> Iterator[None]:
        """Let one thread at a time change the facts, and save them afterwards."""
        with self._guard:
            yield
            self.save()

    def keep_ports(self, part: Part, names: tuple[str, ...]) -> dict[str, int]:
        """Return the ports of a part that is down: the remembered ones, except where somebody else listens now."""
        with self.change():
            mine = self.ports.setdefault(part, {})
            for name in names:
                if name not in mine or not ports.is_free(mine[name]):
                    mine.pop(name, None)
                    mine[name] = ports.choose({port for some in self.ports.values() for port in some.values()})
            return dict(mine)

    def keep_secrets(self, part: Part, names: tuple[str, ...]) -> dict[str, str]:
        """Return the credentials of a part, generating those that it does not have yet."""
        with self.change():
            mine = self.secrets.setdefault(part, {})
            for name in names:
                mine.setdefault(name, secrets.token_hex(20))
            return dict(mine)


def write_private(path: Path, text: str) -> None:
    """Write a file, whole or not at all, that only its owner can read."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def write_private_once(path: Path, text: str) -> None:
    """Write such a file where there is none; of several who do at the same time, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    write_private(made, text)
    with suppress(FileExistsError):
        os.link(made, path)
    made.unlink()


@contextmanager
def exclusive(workspace: Workspace, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the workspace's lock, so that commands change its servers one after the other.

    Args:
        workspace: Whose servers.
        on_wait: Called once when another command holds the lock.

    Raises:
        StackError: The folder cannot be written.
    """
    try:
        workspace.state.mkdir(exist_ok=True)
        workspace.state.chmod(0o700)
        file = (workspace.state / "stack.lock").open("w")
    except OSError as error:
        raise StackError(f"{workspace.state} cannot be written ({error}); make the workspace writable.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
