"""What good routes are: counts that fit each other, a share that is one."""

from great_expectations import expectations as gxe

from lakehouse.quality import Suite, warn

suite = Suite(
    [
        warn(gxe.ExpectColumnValuesToNotBeNull(column="origin")),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="dest")),
        warn(gxe.ExpectColumnValuesToBeBetween(column="flights", min_value=1)),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="flights", column_B="departed", or_equal=True)),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="flights", column_B="arrived", or_equal=True)),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="flights", column_B="cancelled", or_equal=True)),
        warn(gxe.ExpectColumnValuesToBeBetween(column="on_time_share", min_value=0, max_value=1)),
        # Puerto Rico and the Virgin Islands are missing from the reference airports.
        warn(gxe.ExpectColumnValuesToNotBeNull(column="dest_name", mostly=0.95)),
    ]
)
