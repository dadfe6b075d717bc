"""Build ``tidemill-jvm.jar`` from the Java files beside it: ``python -m lakehouse.jvm.build``.

Only someone who changes the Java runs this; it needs a JDK. The same source and JDK give the same bytes: entries are
sorted, and their times fixed. The jar names its sources' hash and the JDK, so a test can tell a stale jar from one
that another compiler made.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pyspark

from lakehouse.errors import JarError
from lakehouse.jvm.jars import TIDEMILL_JAR, fetch

SOURCES = Path(__file__).parent / "src/main/java"
RELEASE = "17"
_ORIGIN = "META-INF/tidemill-origin"
_BUNDLED = (
    *("guava", "hadoop-client-api", "jackson-core", "scala-library", "slf4j-api"),
    *("spark-common-utils_2.13", "spark-sql_2.13", "spark-sql-api_2.13", "tink"),
)
_TIME = (2013, 1, 1, 0, 0, 0)  # any fixed one; zip knows none before 1980


def sources_sha256() -> str:
    """Return one hash over the names and bytes of all Java sources."""
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(f"{file.relative_to(SOURCES).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def javac_version() -> str | None:
    """Return the version of the ``javac`` on the path, ``None`` without a JDK."""
    try:
        out = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return out.split()[-1]


def built_from(jar: Path) -> tuple[str, str]:
    """Return :func:`sources_sha256` and :func:`javac_version` as they were when a jar was built."""
    with zipfile.ZipFile(jar) as archive:
        sources, jdk = archive.read(_ORIGIN).decode().split()
    return sources, jdk


def build(target: Path) -> None:
    """Compile the sources and pack them.

    Args:
        target: The jar to write.

    Raises:
        JarError: There is no JDK, or a source does not compile.
    """
    version = javac_version()
    if version is None:
        raise JarError("There is no javac: install a JDK 17 (Debian: openjdk-17-jdk-headless).")
    spark = Path(pyspark.__file__).parent / "jars"
    bundled = [jar for name in _BUNDLED for jar in sorted(spark.glob(f"{name}-*.jar"))]
    class_path = ":".join(map(str, [*fetch("spark"), *bundled]))
    with tempfile.TemporaryDirectory() as out:
        command = ["javac", "--release", RELEASE, "-g", "-Xlint:all,-path,-classfile", "-Werror", "-proc:none", "-cp", class_path]
        done = subprocess.run([*command, "-d", out, *map(str, _sources())], capture_output=True, text=True)
        if done.returncode:
            raise JarError(f"The Java sources do not compile: {done.stderr.strip()}")
        entries = {
            "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n",
            _ORIGIN: f"{sources_sha256()}\n{version}\n".encode(),
        }
        entries |= {str(x.relative_to(out)): x.read_bytes() for x in sorted(Path(out).rglob("*.class"))}
    with zipfile.ZipFile(target, "w") as archive:  # stored: compressors differ between machines, and the jar is small
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)


def _sources() -> list[Path]:
    return sorted(SOURCES.rglob("*.java"))


if __name__ == "__main__":
    build(TIDEMILL_JAR)
