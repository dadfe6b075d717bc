"""What a good weather observation is. One of 2013's is not: wind of 1,048 miles an hour at EWR on 12 February."""

from great_expectations import expectations as gxe

from lakehouse.quality import Suite, drop, warn

suite = Suite(
    [
        drop(gxe.ExpectColumnValuesToNotBeNull(column="origin")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="observed_at")),
        drop(gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"])),
        drop(gxe.ExpectColumnValuesToBeBetween(column="temp", min_value=-60, max_value=140)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="dewp", min_value=-100, max_value=100)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="humid", min_value=0, max_value=100)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="wind_dir", min_value=0, max_value=360)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="wind_speed", min_value=0, max_value=250)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="wind_gust", min_value=0, max_value=300)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="precip", min_value=0, max_value=20)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="pressure", min_value=850, max_value=1100)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="visib", min_value=0, max_value=100)),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="temp")),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="pressure")),
    ]
)
