"""Write ``jars.lock.toml`` from the ``pom.xml`` files: ``python -m lakehouse.jvm.lock``.

Only someone who changes a version runs this; it needs Maven. Maven resolves, this module leaves out what pyspark bundles,
and the lock records the exact coordinates with their SHA-256.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from pathlib import Path

import pyspark

from lakehouse.jvm.jars import LOCK, JarSet

HERE = Path(__file__).parent
POMS: dict[JarSet, Path] = {"spark": HERE, "kafka": HERE / "kafka"}
# netty: S3A uses the synchronous client, and pyspark has another netty; commons-logging: pyspark bridges it to log4j;
# shims: pyspark bundles a newer RoaringBitmap without them.
UNUSED = {"netty-nio-client", "commons-logging", "shims"}
_LIST = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:list"
_ROW = re.compile(r"^\s+(?P<group>[^:\s]+):(?P<artifact>[^:]+):jar:(?P<version>[^:]+):\S+?:(?P<path>/\S+)$", re.MULTILINE)


def bundled_artifacts() -> set[str]:
    """Return the artifact names (without versions) of the jars inside the pyspark package."""
    folder = Path(pyspark.__file__).parent / "jars"
    return {re.sub(r"-\d.*$", "", jar.stem) for jar in folder.glob("*.jar")}


def resolve(pom: Path, leave_out: set[str]) -> list[tuple[str, str]]:
    """Resolve one pom.

    Returns:
        ``(coordinate, sha256)`` rows, sorted.
    """
    with tempfile.NamedTemporaryFile("r") as out:
        subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                _LIST,
                f"-DoutputFile={out.name}",
                "-DincludeScope=runtime",
                "-DoutputAbsoluteArtifactFilename=true",
            ],
            cwd=pom,
            check=True,
        )
        text = re.sub(r"\x1b\[[0-9;]*m| -- module.*", "", out.read())
    rows = []
    for found in _ROW.finditer(text):
        if found["artifact"] in leave_out:
            continue
        digest = hashlib.sha256(Path(found["path"]).read_bytes()).hexdigest()
        rows.append((f"{found['group']}:{found['artifact']}:{found['version']}", digest))
    return sorted(rows)


def main() -> None:
    """Resolve both class paths and replace the lock."""
    lines = ["# Written by `python -m lakehouse.jvm.lock` from pom.xml and kafka/pom.xml. Do not edit."]
    for name, pom in POMS.items():
        for coordinate, digest in resolve(pom, bundled_artifacts() | UNUSED if name == "spark" else set()):
            lines.append(f'\n[[jar]]\nset = "{name}"\ncoordinate = "{coordinate}"\nsha256 = "{digest}"')
    LOCK.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
