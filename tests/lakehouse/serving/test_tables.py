from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import SparkSession

from lakehouse.serving.query import run_query
from lakehouse.serving.tables import READER_FEATURES, Location

PROPERTIES = {
    "delta.enableDeletionVectors": "true",
    "delta.columnMapping.mode": "name",
    "delta.checkpointPolicy": "v2",
    "delta.checkpointInterval": "2",
}


def test_every_reader_feature_that_is_allowed_is_read_as_spark_reads_it(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "flights"
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in PROPERTIES.items())
    columns = "id BIGINT, name STRING, local TIMESTAMP_NTZ"
    spark.sql(f"CREATE TABLE delta.`{path}` ({columns}) USING delta TBLPROPERTIES ({properties})")
    rows = spark.range(100).selectExpr("id", "'n' || id AS name", "TIMESTAMP_NTZ'2013-01-01 05:00:00' AS local")
    rows.coalesce(1).write.format("delta").mode("append").save(str(path))
    spark.sql(f"ALTER TABLE delta.`{path}` RENAME COLUMN name TO renamed")
    spark.sql(f"DELETE FROM delta.`{path}` WHERE id % 3 = 0")
    expected = [tuple(row) for row in spark.read.format("delta").load(str(path)).where("id < 50").orderBy("id").collect()]

    table = DeltaTable(str(path))
    assert set(table.protocol().reader_features or ()) == READER_FEATURES
    assert sum(not keep for file in table.deletion_vectors() for keep in file["selection_vector"].to_pylist()[0]) == 34
    result = run_query(
        "SELECT * FROM silver.flights WHERE id < 50 ORDER BY id", ["silver.flights"], lambda _: Location(str(path))
    )
    assert len(expected) == 33
    assert result.rows() == expected
