"""Weather: typed, gated, one row for each airport and hour."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Bronze, Json, silver


@silver(
    "weather",
    keys=["origin", "observed_at"],
    parse=Json("""
        origin STRING, observed_at TIMESTAMP, temp DOUBLE, dewp DOUBLE, humid DOUBLE, wind_dir DOUBLE, wind_speed DOUBLE,
        wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE
    """),
    event_time="observed_at",
    watermark="6 hours",
    future="5 minutes",
    suite="silver/weather",
    cluster_by=["observed_at"],
)
def weather(records: Annotated[DataFrame, Bronze("weather")]) -> DataFrame:
    """Hourly observations: °F, per cent, degrees, miles an hour, inches, millibars, miles."""
    return records.select(
        "_record",
        "origin",
        "observed_at",
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    )
