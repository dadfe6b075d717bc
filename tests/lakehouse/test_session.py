from __future__ import annotations

from pathlib import Path
from typing import Any

import pyspark.java_gateway
import pytest
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from lakehouse import session
from lakehouse.errors import SessionError
from lakehouse.settings import Settings

SETTINGS = Settings.model_validate(
    {"s3": {"endpoint_url": "http://127.0.0.1:9", "access_key": "the-access-key", "secret_key": "the-secret-key"}}
)


def test_no_secret_is_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, str] = {}
    monkeypatch.setattr(pyspark.java_gateway, "launch_gateway", lambda conf, _: given.update(conf.getAll()))
    options = session._options(SETTINGS, tmp_path)
    session._launch({**options, "spark.hadoop.x.password": "the-password"}, tmp_path / "driver.out")
    assert given["spark.driver.memory"] == SETTINGS.lake.driver_memory
    assert set(options) - set(given) == {"spark.hadoop.fs.s3a.access.key", "spark.hadoop.fs.s3a.secret.key"}
    assert not {"the-access-key", "the-secret-key", "the-password"} & set(given.values())


def test_what_spark_puts_on_disk_is_encrypted_where_that_is_set(tmp_path: Path) -> None:
    name = "spark.io.encryption.enabled"
    assert name not in session._options(SETTINGS, tmp_path)
    encrypted = Settings.model_validate({"encryption": {"spill": True}})
    assert session._options(encrypted, tmp_path)[name] == "true"


def test_a_machine_without_java_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SessionError, match="Java 17"):
        session._launch({}, tmp_path / "driver.out")


def test_a_driver_that_does_not_start_names_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any, popen: dict[str, Any]) -> None:
        popen["stderr"].write("first\nUnrecognized VM option 'Nonsense'\n")
        popen["stderr"].flush()
        raise PySparkRuntimeError(errorClass="JAVA_GATEWAY_EXITED", messageParameters={})

    monkeypatch.setattr(pyspark.java_gateway, "launch_gateway", fail)
    with pytest.raises(SessionError, match=r"Unrecognized VM option 'Nonsense'.*driver\.out"):
        session._launch({}, tmp_path / "driver.out")


def test_commits_are_conditional_puts(spark: SparkSession) -> None:
    assert spark.conf.get("spark.delta.logStore.s3a.impl") == "io.tidemill.ConditionalPutLogStore"
    jvm: Any = spark._jvm
    store = jvm.org.apache.spark.util.Utils.classForName("io.tidemill.ConditionalPutLogStore", True, False)
    assert store.getSuperclass().getName() == "io.delta.storage.S3SingleDriverLogStore"
