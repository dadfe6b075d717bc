"""What a good booking is. Personal columns are looked at as they come in: what lands of them is a token or sealed."""

from great_expectations import expectations as gxe

from lakehouse.quality import Suite, drop, warn

suite = Suite(
    [
        drop(gxe.ExpectColumnValuesToNotBeNull(column="booking_id")),
        drop(gxe.ExpectColumnValuesToNotBeNull(column="booked_at")),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="carrier", regex="^[A-Z0-9]{2}$")),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="email", regex="^[^@ ]+@[^@ ]+$")),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="seat", regex="^[0-9]{1,2}[A-F]$")),
        drop(gxe.ExpectColumnValuesToBeBetween(column="fare", min_value=0, max_value=10_000)),
        warn(gxe.ExpectColumnValuesToMatchRegex(column="phone", regex=r"^\+[0-9-]+$")),
        warn(gxe.ExpectColumnValuesToNotBeNull(column="document")),
    ]
)
