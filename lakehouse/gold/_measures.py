"""What every mart says about a group of flights, defined once.

Means are quotients of whole numbers, and so do not depend on the order of the rows.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

MEASURES = (
    "flights",
    "departed",
    "arrived",
    "cancelled",
    "departure_delay_minutes",
    "mean_departure_delay",
    "arrival_delay_minutes",
    "mean_arrival_delay",
    "on_time_share",
)
"""Names of the measures, in the order of :func:`measures`."""

ON_TIME_MINUTES = 15
"""A flight that arrives less than 15 minutes late is on time (14 CFR 234.2)."""


def measures() -> list[Column]:
    """Return aggregates over rows of ``silver.flights``: counts, delays in minutes, share of arrivals on time."""
    departure, arrival = F.col("departure_delay"), F.col("arrival_delay")
    return [
        F.count("*").alias("flights"),
        F.count("actual_departure").alias("departed"),
        F.count("actual_arrival").alias("arrived"),
        F.count_if(F.col("status") == "cancelled").alias("cancelled"),
        F.sum(departure).alias("departure_delay_minutes"),
        F.try_divide(F.sum(departure), F.count(departure)).alias("mean_departure_delay"),
        F.sum(arrival).alias("arrival_delay_minutes"),
        F.try_divide(F.sum(arrival), F.count(arrival)).alias("mean_arrival_delay"),
        F.try_divide(F.count_if(arrival < ON_TIME_MINUTES), F.count(arrival)).alias("on_time_share"),
    ]
