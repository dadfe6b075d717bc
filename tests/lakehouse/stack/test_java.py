from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import StackError
from lakehouse.stack import java


def fake(folder: Path, script: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2026-01-01' >&2"


@pytest.mark.parametrize(("version", "feature"), [("17.0.15", 17), ("1.8.0_432", 8), ("25", 25), ("21-ea", 21), ("11.0.2", 11)])
def test_versions_old_and_new_are_understood(tmp_path: Path, version: str, feature: int) -> None:
    assert java.version(fake(tmp_path, says(version))) == feature


def test_java_home_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake(tmp_path, says("21"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java.require() == program


def test_an_empty_java_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=f"JAVA_HOME is {tmp_path}.*install Java 17"):
        java.find()


def test_no_java_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="Java was not found: install Java 17"):
        java.require()


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, says("11.0.2"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match="is Java 11: install Java 17"):
        java.require()


@pytest.mark.parametrize("script", ["exit 1", "echo nothing known >&2"])
def test_a_broken_java_is_a_sentence(tmp_path: Path, script: str) -> None:
    with pytest.raises(StackError, match="install Java 17"):
        java.version(fake(tmp_path, script))
