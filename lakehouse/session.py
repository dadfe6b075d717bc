"""The one place that builds a SparkSession."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.jvm.jars import fetch
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def build_session(settings: Settings, app_name: str, *, scratch: Path, extra: dict[str, str] | None = None) -> SparkSession:
    """Start the driver, or return the running one.

    Args:
        settings: Where the object store is, and how large the driver may be.
        app_name: Shown in Spark's UI and logs.
        scratch: Folder for shuffle files, RocksDB state and the warehouse.
        extra: Spark options that win over those here.

    Returns:
        A session whose time zone is UTC, with Delta as SQL extension and catalog.
    """
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(app_name).master(f"local[{cores(settings)}]")
    scratch.mkdir(parents=True, exist_ok=True)
    for key, value in {**_options(settings, scratch), **(extra or {})}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def cores(settings: Settings) -> int:
    """Return the number of task slots."""
    return settings.lake.cores or os.cpu_count() or 2


def _options(settings: Settings, scratch: Path) -> dict[str, str]:
    slots = str(cores(settings))
    options = {
        "spark.jars": ",".join(str(jar) for jar in fetch("spark")),
        "spark.driver.memory": settings.lake.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={scratch} -Duser.timezone=UTC",
        # Small machines: Spark's 200 and Delta's 50 tasks cost more than the data (docs/performance.md).
        "spark.sql.shuffle.partitions": slots,
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.streaming.stateStore.providerClass": (
            "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
        ),
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    }
    if settings.s3.endpoint_url:
        secret = settings.s3.secret_key.get_secret_value() if settings.s3.secret_key else ""
        options |= {
            "spark.hadoop.fs.s3a.endpoint": settings.s3.endpoint_url,
            "spark.hadoop.fs.s3a.endpoint.region": settings.s3.region,
            "spark.hadoop.fs.s3a.access.key": settings.s3.access_key or "",
            "spark.hadoop.fs.s3a.secret.key": secret,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": str(settings.s3.endpoint_url.startswith("https")).lower(),
        }
    return options
