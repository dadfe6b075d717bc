"""What good carrier months are: counts that fit each other, a share that is one."""

from great_expectations import expectations as gxe

from lakehouse.quality import Suite, warn

suite = Suite(
    [
        warn(gxe.ExpectColumnValuesToNotBeNull(column="carrier")),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="month")),
        warn(gxe.ExpectColumnValuesToBeBetween(column="flights", min_value=1)),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="flights", column_B="departed", or_equal=True)),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="flights", column_B="arrived", or_equal=True)),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="flights", column_B="cancelled", or_equal=True)),
        warn(gxe.ExpectColumnValuesToBeBetween(column="on_time_share", min_value=0, max_value=1)),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="carrier_name")),
    ]
)
