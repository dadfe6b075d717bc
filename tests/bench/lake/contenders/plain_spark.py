"""Plain PySpark: Spark's and Delta's default settings; only the wiring to S3, the master and the heap are set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from lakehouse.jvm.jars import fetch
from lakehouse.session import cores
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

from ._chained import Job


@contextmanager
def ready(workspace: Workspace) -> Iterator[Job]:
    """Start the driver, with the heap that Tidemill's has."""
    settings = Settings.load(workspace)
    scratch = workspace.state / "plain_spark"
    scratch.mkdir(parents=True, exist_ok=True)
    assert settings.s3.access_key is not None
    assert settings.s3.secret_key is not None
    # S3A finds them there by default; as options of the session they would be on the JVM's command line.
    os.environ |= {
        "AWS_ACCESS_KEY_ID": settings.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3.secret_key.get_secret_value(),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    spark = (
        SparkSession.builder.master(f"local[{cores(settings)}]")
        .appName("plain_spark")
        .config("spark.jars", ",".join(str(jar) for jar in fetch("spark")))
        .config("spark.driver.memory", settings.lake.driver_memory)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.local.dir", str(scratch))
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.hadoop.fs.s3a.endpoint", settings.require("s3"))
        .config("spark.hadoop.fs.s3a.endpoint.region", settings.s3.region)
        .config("spark.hadoop.fs.s3a.path.style.access", "true")
        .config("spark.hadoop.fs.s3a.connection.ssl.enabled", "false")
        .getOrCreate()
    )
    try:
        yield Job(spark, settings)
    finally:
        spark.stop()
