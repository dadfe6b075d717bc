"""The one place that builds a SparkSession.

What the driver's JVM says goes to two files in its scratch folder: ``driver.log`` (log4j) and ``driver.out`` (everything
else that it, or a Python worker, prints). The terminal is Tidemill's own.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.clients import jvm_trust, s3a
from lakehouse.errors import SessionError
from lakehouse.jvm.jars import LOG4J, TIDEMILL_JAR, fetch
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark.sql import SparkSession

# Spark's own notion of a secret option (spark.redaction.regex).
_SECRET = re.compile(r"(?i)secret|password|token|access[.]?key")


def build_session(settings: Settings, app_name: str, *, scratch: Path, extra: dict[str, str] | None = None) -> SparkSession:
    """Start the driver, or return the running one.

    Args:
        settings: Where the object store is, and how large the driver may be.
        app_name: Shown in Spark's UI and logs.
        scratch: Folder for shuffle files, RocksDB state and the warehouse.
        extra: Spark options that win over those here.

    Returns:
        A session whose time zone is UTC, with Delta as SQL extension and catalog.

    Raises:
        SessionError: The JVM did not start.
    """
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession
    from pyspark.sql.types import LongType

    from lakehouse.quality.parse import SHAPE

    scratch.mkdir(parents=True, exist_ok=True)
    options = {
        "spark.app.name": app_name,
        "spark.master": f"local[{cores(settings)}]",
        **_options(settings, scratch),
        **(extra or {}),
    }
    if SparkContext._active_spark_context is None:
        gateway = SparkContext._gateway or _launch(options, scratch / "driver.out")
        SparkContext(conf=SparkConf().setAll(list(options.items())), gateway=gateway)
    spark = SparkSession.builder.config(map=dict(extra or {})).getOrCreate()
    spark.udf.registerJavaFunction(SHAPE, "io.tidemill.JsonShape", LongType())
    return spark


def _launch(options: dict[str, str], output: Path) -> JavaGateway:
    """Start the JVM without the secrets among the options: its command line is for every user of the machine to read."""
    from pyspark import SparkConf
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise SessionError("There is no Java: install Java 17 or newer, or set JAVA_HOME.")
    public = SparkConf(loadDefaults=False).setAll([(k, v) for k, v in options.items() if not _SECRET.search(k)])
    with output.open("w") as out:
        try:
            return launch_gateway(public, {"stdout": out, "stderr": out})  # type: ignore[no-untyped-call]  # PySpark has no types here
        except PySparkRuntimeError as error:
            last = output.read_text().strip().rpartition("\n")[2]
            raise SessionError(f"Spark did not start ({last or 'without a word'}); see {output}.") from error


def cores(settings: Settings) -> int:
    """Return the number of task slots."""
    return settings.lake.cores or os.cpu_count() or 2


def _options(settings: Settings, scratch: Path) -> dict[str, str]:
    slots = str(cores(settings))
    jars = fetch("spark")
    options = {
        "spark.jars": ",".join(str(jar) for jar in [TIDEMILL_JAR, *jars]),
        # Tink, which Spark brings, reads keysets with it, and sees only what is on the class path beside it.
        "spark.driver.extraClassPath": str(next(jar for jar in jars if "protobuf-java" in jar.name)),
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
        "spark.driver.extraJavaOptions": " ".join(
            [
                f"'-Dderby.system.home={scratch}'",
                f"'-Dtidemill.scratch={scratch}'",
                f"-Dlog4j2.configurationFile={LOG4J.as_uri()}",
                "-Duser.timezone=UTC",
                *jvm_trust(settings, scratch),
                "-XX:+UseParallelGC",  # on a few cores, a tenth less work than G1 (docs/performance.md)
            ]
        ),
        # A second driver's commit of the same version fails instead of replacing the first one's.
        "spark.delta.logStore.s3a.impl": "io.tidemill.ConditionalPutLogStore",
        # Offsets, too, are put once instead of copied into their place: half a second less for each batch, and one driver alone.
        "spark.sql.streaming.checkpointFileManagerClass": "io.tidemill.PutCheckpointFileManager",
        # Small machines: Spark's 200 and Delta's 50 tasks cost more than the data (docs/performance.md).
        "spark.sql.shuffle.partitions": slots,
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": slots,
        "spark.databricks.delta.snapshotPartitions": "1",
        # Compaction leaves alone what is large enough: with Delta's 1 GiB it would write a growing table again and again.
        "spark.databricks.delta.optimize.minFileSize": str(64 << 20),
        "spark.databricks.delta.optimize.maxFileSize": str(128 << 20),
        # A batch of each table runs some hundred pieces of generated code, the same every time; Spark remembers a hundred in all.
        "spark.sql.codegen.cache.maxEntries": "4096",
        # What follows from what is known of a parsed record are thousands of expressions, kept with each plan (docs/performance.md).
        "spark.sql.constraintPropagation.enabled": "false",
        # A sort, a hash table, a table that is broadcast takes at least one page, and by default they are of 64 MiB here.
        "spark.buffer.pageSize": "4m",
        # Nobody looks at Spark's own pages, and what they would show of a thousand queries is kept all the same.
        "spark.sql.ui.retainedExecutions": "10",
        "spark.ui.retainedJobs": "50",
        "spark.ui.retainedStages": "50",
        "spark.ui.liveUpdate.period": "-1",
        # Records that were fetched beyond the end of a batch wait for the next one, but not for minutes.
        "spark.kafka.consumer.fetchedData.cache.timeout": "10s",
        "spark.kafka.consumer.fetchedData.cache.evictorThreadRunInterval": "10s",
        "spark.sql.streaming.stateStore.providerClass": (
            "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
        ),
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    }
    if settings.encryption.spill:
        options |= {"spark.io.encryption.enabled": "true", "spark.io.encryption.keySizeBits": "256"}
    return options | s3a(settings)
