from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lakehouse.errors import JarError
from lakehouse.jvm import build
from lakehouse.jvm.jars import TIDEMILL_JAR


def test_the_jar_was_built_from_the_sources() -> None:
    sources, _ = build.built_from(TIDEMILL_JAR)
    assert sources == build.sources_sha256(), "run `python -m lakehouse.jvm.build` and commit the jar"


@pytest.mark.skipif(
    build.javac_version() != build.built_from(TIDEMILL_JAR)[1], reason="another compiler writes other bytes, or there is none"
)
def test_building_it_again_gives_the_same_bytes(tmp_path: Path) -> None:
    build.build(tmp_path / "again.jar")
    assert (tmp_path / "again.jar").read_bytes() == TIDEMILL_JAR.read_bytes()


def test_the_jar_is_small_and_holds_nothing_else() -> None:
    assert TIDEMILL_JAR.stat().st_size < 60_000
    with zipfile.ZipFile(TIDEMILL_JAR) as archive:
        names = archive.namelist()
        assert {entry.date_time for entry in archive.infolist()} == {(2013, 1, 1, 0, 0, 0)}
    assert names[:2] == ["META-INF/MANIFEST.MF", "META-INF/tidemill-origin"]
    sources = {file.stem for file in build.SOURCES.rglob("*.java")}
    assert {name.removeprefix("io/tidemill/").removesuffix(".class").partition("$")[0] for name in names[2:]} == sources


def test_a_changed_source_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.sources_sha256()
    (tmp_path / "A.java").write_text("class A { }")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    changed = build.sources_sha256()
    (tmp_path / "A.java").rename(tmp_path / "B.java")
    assert len({before, changed, build.sources_sha256()}) == 3


def test_without_a_jdk_building_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JarError, match="JDK 17"):
        build.build(tmp_path / "x.jar")


@pytest.mark.skipif(build.javac_version() is None, reason="there is no javac")
def test_a_source_that_does_not_compile_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "A.java").write_text('class A { int x = "no"; }')
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    with pytest.raises(JarError, match="incompatible types"):
        build.build(tmp_path / "x.jar")
