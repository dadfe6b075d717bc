"""The Java that this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from lakehouse.errors import StackError

OLDEST = 17
_HOW = f"install Java {OLDEST} or newer (`apt install openjdk-17-jre-headless`, `brew install openjdk@17`, or conda's `openjdk`)"


def find() -> Path:
    """Return the ``java`` program: ``$JAVA_HOME/bin/java``, else the one on the path.

    Raises:
        StackError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if found is None:
        where = f"JAVA_HOME is {home}, and there is no bin/java in it" if home else "Java was not found"
        raise StackError(f"{where}: {_HOW}.")
    return Path(found)


def version(java: Path) -> int:
    """Return the feature version of a ``java`` program.

    Raises:
        StackError: It does not run.
    """
    try:
        text = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True, timeout=30).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"{java} does not run ({error}): {_HOW}.") from error
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    if found is None:
        raise StackError(f"{java} does not tell its version ({text.strip()[:80]}): {_HOW}.")
    return int(found[1])


def require() -> Path:
    """Return a ``java`` program that is new enough.

    Raises:
        StackError: There is none, or it is too old.
    """
    java = find()
    if (found := version(java)) < OLDEST:
        raise StackError(f"{java} is Java {found}: {_HOW}.")
    return java
