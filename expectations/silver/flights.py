"""What a good flight is: checked after its events were merged, so nothing can be dropped any more."""

from great_expectations import expectations as gxe
from great_expectations.expectations.row_conditions import Column

from lakehouse.quality import Suite, warn

suite = Suite(
    [
        warn(gxe.ExpectColumnValuesToBeInSet(column="status", value_set=["departed", "arrived", "cancelled"])),
        warn(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="actual_arrival", column_B="actual_departure")),
        # Until the departure comes in, too: `arrived` may overtake it.
        warn(gxe.ExpectColumnValuesToNotBeNull(column="actual_departure", row_condition=Column("status") == "arrived")),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="arrival_delay", row_condition=Column("status") == "arrived")),
        warn(gxe.ExpectColumnValuesToBeNull(column="actual_departure", row_condition=Column("status") == "cancelled")),
    ]
)
