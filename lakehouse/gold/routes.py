"""Routes."""

from typing import Annotated

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Reference, Silver, gold
from lakehouse.gold._measures import MEASURES, measures


@gold("routes", keys=["origin", "dest"], suite="gold/routes")
def routes(
    flights: Annotated[DataFrame, Silver("flights")],
    airports: Annotated[DataFrame, Reference("airports")],
) -> DataFrame:
    """Each pair of airports: names, positions, miles, how many airlines, flights and delays."""
    grouped = flights.groupBy("origin", "dest").agg(
        F.max("distance").alias("distance"), F.count_distinct("carrier").alias("airlines"), *measures()
    )
    return (
        grouped.join(F.broadcast(airports.select(*_named("origin"))), "origin", "left")
        .join(F.broadcast(airports.select(*_named("dest"))), "dest", "left")
        .select(
            "origin",
            "dest",
            "origin_name",
            "origin_lat",
            "origin_lon",
            "dest_name",
            "dest_lat",
            "dest_lon",
            "distance",
            "airlines",
            *MEASURES,
        )
    )


def _named(end: str) -> list[Column]:
    return [F.col("faa").alias(end), *(F.col(name).alias(f"{end}_{name}") for name in ("name", "lat", "lon"))]
