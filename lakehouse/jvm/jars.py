"""Fetch the jars named in ``jars.lock.toml`` and verify every byte of them.

The lock is made from the two ``pom.xml`` files beside it (see :mod:`lakehouse.jvm.lock`). Fetching needs no Maven: jgo
speaks to the repository, and a jar that does not match its SHA-256 is deleted and refused.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path
from tenacity import retry, retry_if_not_exception_type, stop_after_attempt, wait_exponential

from lakehouse.errors import JarError

JarSet = Literal["spark", "kafka"]
LOCK = Path(__file__).with_name("jars.lock.toml")
TIDEMILL_JAR = Path(__file__).with_name("tidemill-jvm.jar")  # our own: see build.py
LOG4J = Path(__file__).with_name("log4j2.properties")


@dataclass(frozen=True)
class Jar:
    """One locked jar.

    Attributes:
        set: The class path it belongs to.
        coordinate: ``group:artifact:version``.
        sha256: Hex digest of the file.
    """

    set: JarSet
    coordinate: str
    sha256: str

    @property
    def filename(self) -> str:
        """File name in the cache, unique for each coordinate."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group}_{artifact}-{version}.jar"


@cache
def locked(name: JarSet) -> tuple[Jar, ...]:
    """Return the locked jars of one class path, in lock order."""
    rows = tomllib.loads(LOCK.read_text())["jar"]
    return tuple(Jar(**row) for row in rows if row["set"] == name)


def cache_dir() -> Path:
    """Return the folder that holds verified jars, shared by all workspaces of this user."""
    return Path(os.environ.get("TIDEMILL_JARS_DIR") or user_cache_path("tidemill") / "jars")


def missing(name: JarSet) -> list[Jar]:
    """Return the locked jars that are not in the cache yet."""
    folder = cache_dir()
    return [jar for jar in locked(name) if not (folder / jar.filename).is_file()]


def fetch(name: JarSet, on_jar: Callable[[Jar], None] = lambda _: None) -> list[Path]:
    """Return the paths of a class path, downloading what the cache lacks.

    Args:
        name: Which class path.
        on_jar: Called after each download, for a progress bar.

    Raises:
        JarError: A jar could not be downloaded, or its checksum differs from the lock.
    """
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    absent = missing(name)
    if absent:
        with ThreadPoolExecutor(8) as pool:
            for jar in pool.map(lambda jar: download(jar, folder), absent):
                on_jar(jar)
    return [folder / jar.filename for jar in locked(name)]


def download(jar: Jar, folder: Path) -> Jar:
    """Download one jar into a folder.

    Raises:
        JarError: It could not be downloaded, or its checksum differs from the lock.
    """
    staging = folder / f".{jar.filename}.{os.getpid()}"
    try:
        _resolve(jar, staging)
        (found,) = staging.rglob("*.jar")
        if (digest := hashlib.sha256(found.read_bytes()).hexdigest()) != jar.sha256:
            raise JarError(f"{jar.coordinate} has SHA-256 {digest}, but the lock says {jar.sha256}; nothing was kept.")
        found.replace(folder / jar.filename)  # atomic: another process sees all of the jar or none of it
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return jar


@retry(
    stop=stop_after_attempt(4),
    wait=wait_exponential(max=8),
    retry=retry_if_not_exception_type(ImportError),
    retry_error_callback=lambda state: _give_up(state.args[0], state.outcome.exception() if state.outcome else None),
)
def _resolve(jar: Jar, staging: Path) -> None:
    from jgo.maven import MavenContext

    group, artifact, version = jar.coordinate.split(":")
    context = MavenContext(repo_cache=staging, local_repos=[], timeout=60)
    context.project(group, artifact).at_version(version).artifact().resolve()


def _give_up(jar: Jar, cause: BaseException | None) -> None:
    raise JarError(f"{jar.coordinate} could not be downloaded ({cause}); check the network and run the command again.") from cause
