from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from lakehouse.catalog import Catalog


@pytest.mark.parametrize(("name", "rows"), [("airlines", 16), ("airports", 1458), ("planes", 3322)])
def test_each_key_has_one_row(catalog: Catalog, name: str, rows: int) -> None:
    spec = catalog[f"reference.{name}"]
    assert spec.function
    table = spec.function()
    assert len(table) == rows
    assert not table.duplicated(list(spec.keys)).any()
    assert table[list(spec.keys)].notna().all().all()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("airlines", "carrier:string,name:string"),
        ("airports", "faa:string,name:string,lat:double,lon:double,alt:bigint,tz:bigint,dst:string,tzone:string"),
        (
            "planes",
            "tailnum:string,year:int,type:string,manufacturer:string,model:string,engines:int,seats:int,speed:int,engine:string",
        ),
    ],
)
def test_spark_reads_the_types_meant(spark: SparkSession, catalog: Catalog, name: str, schema: str) -> None:
    function = catalog[f"reference.{name}"].function
    assert function
    assert spark.createDataFrame(function()).schema.simpleString() == f"struct<{schema}>"


def test_a_missing_value_is_null(spark: SparkSession, catalog: Catalog) -> None:
    planes, airports = (catalog[f"reference.{name}"].function for name in ("planes", "airports"))
    assert planes and airports
    assert spark.createDataFrame(planes()).where("year IS NULL").count() == 70
    assert spark.createDataFrame(airports()).where("tzone IS NULL").count() == 3
