"""What a good flight event is. The bounds leave room around what 2013 saw: delays from −86 to 1,301 minutes."""

from great_expectations import expectations as gxe
from great_expectations.expectations.row_conditions import Column

from lakehouse.quality import Suite, drop, warn

AIRPORT = r"^[A-Z0-9]{3}$"

suite = Suite(
    [
        drop(gxe.ExpectColumnValuesToNotBeNull(column="flight_id")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="event")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="event_time")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="carrier")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="flight")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="origin")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="dest")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="scheduled_departure")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="scheduled_arrival")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="delay", row_condition=Column("event") == "departed")),
        drop(gxe.ExpectColumnValuesToBeInSet(column="event", value_set=["departed", "arrived", "cancelled"])),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="flight_id", regex=r"^\d{4}-\d{2}-\d{2}-[A-Z0-9]{2}-\d+-[A-Z0-9]{3}$")),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="carrier", regex=r"^[A-Z0-9]{2}$")),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="origin", regex=AIRPORT)),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="dest", regex=AIRPORT)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="delay", min_value=-240, max_value=2880)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="distance", min_value=1, max_value=12000)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="air_time", min_value=1, max_value=1500)),
        drop(gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="scheduled_arrival", column_B="scheduled_departure")),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="tailnum")),
        # A diverted flight arrives, but against no schedule.
        warn(gxe.ExpectColumnValuesToNotBeNull(column="delay", row_condition=Column("event") == "arrived")),
    ]
)
