"""A month of the year's events as silver, once for all marts."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.catalog import Catalog
from lakehouse.replay import flights, weather
from lakehouse.testing import frame

Silver = dict[str, DataFrame]
FLIGHTS = """
    flight_id STRING, carrier STRING, flight INT, tailnum STRING, origin STRING, dest STRING, distance INT,
    scheduled_departure TIMESTAMP, scheduled_arrival TIMESTAMP, actual_departure TIMESTAMP, actual_arrival TIMESTAMP,
    departure_delay INT, arrival_delay INT, air_time INT, status STRING, updated_at TIMESTAMP
"""


@pytest.fixture(scope="session")
def march_lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The replayer's JSON of March's flights and of the year's weather, a file for each feed."""
    folder = tmp_path_factory.mktemp("events")
    published = flights.events(datetime(2013, 3, 1), datetime(2013, 4, 8))
    lines = {
        "flights": [x.value for x in published if x.key.startswith(b"2013-03-")],
        "weather": [x.value for x in weather.events()],
    }
    for feed, values in lines.items():
        (folder / f"{feed}.json").write_bytes(b"\n".join(values))
    return {feed: folder / f"{feed}.json" for feed in lines}


@pytest.fixture(scope="session")
def silver_of(spark: SparkSession, catalog: Catalog) -> Callable[[dict[str, Path]], Silver]:
    """Return silver for files of JSON lines: parsed, one row a key."""

    def build(files: dict[str, Path]) -> Silver:
        tables: Silver = {}
        for feed, file in files.items():
            spec = catalog.ingest(feed)
            assert spec.parse and spec.function
            records = spark.read.schema(spec.parse.schema).json(str(file)).withColumn("_record", F.lit(0))
            tables[spec.name] = spec.function(records).drop("_record").dropDuplicates(list(spec.keys)).cache()
        merge = catalog["silver.flights"].function
        assert merge
        tables["flights"] = merge(tables["flight_events"]).cache()
        return tables

    return build


@pytest.fixture(scope="session")
def in_order(silver_of: Callable[[dict[str, Path]], Silver], march_lines: dict[str, Path]) -> Silver:
    """Silver of the events as published."""
    return silver_of(march_lines)


@pytest.fixture(scope="session")
def disturbed(
    silver_of: Callable[[dict[str, Path]], Silver], march_lines: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Silver:
    """Silver of the same events, shuffled, and every third one twice."""
    folder = tmp_path_factory.mktemp("disturbed")
    for feed, file in march_lines.items():
        lines = file.read_bytes().split(b"\n")
        lines += lines[::3]
        random.Random(7).shuffle(lines)
        (folder / f"{feed}.json").write_bytes(b"\n".join(lines))
    return silver_of({feed: folder / f"{feed}.json" for feed in march_lines})


@pytest.fixture(params=["in_order", "disturbed"])
def march(request: pytest.FixtureRequest) -> Silver:
    """Both of them: every mart is compared twice."""
    tables: Silver = request.getfixturevalue(request.param)
    return tables


@pytest.fixture(scope="session")
def references(spark: SparkSession, catalog: Catalog) -> dict[str, DataFrame]:
    """The reference tables as DataFrames."""
    return {x.name: spark.createDataFrame(x.function()) for x in catalog.layer("reference") if x.function}


@pytest.fixture
def some_flights(spark: SparkSession) -> Callable[..., DataFrame]:
    """Build rows of ``silver.flights`` from what a test cares about."""

    def build(*rows: dict[str, Any]) -> DataFrame:
        return frame(spark, FLIGHTS, [flight(**row) for row in rows])

    return build


def flight(at: str = "2013-03-01T10:15:00Z", *, late: int | None = 0, arrived: int | None = 0, **columns: Any) -> dict[str, Any]:
    """Return one flight: ``late`` minutes at departure (``None``: cancelled), ``arrived`` minutes late (``None``: not yet)."""
    scheduled = datetime.fromisoformat(at)
    departed = None if late is None else scheduled + timedelta(minutes=late)
    landed = None if departed is None or arrived is None else scheduled + timedelta(minutes=180 + arrived)
    status = "cancelled" if departed is None else "departed" if landed is None else "arrived"
    defaults = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400, "scheduled_departure": scheduled}
    state = {"actual_departure": departed, "actual_arrival": landed, "departure_delay": late, "status": status}
    return {**defaults, **state, "arrival_delay": arrived if landed else None, **columns}
