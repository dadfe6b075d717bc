"""What a good shop event is: the six checks that every contender makes."""

from great_expectations import expectations as gxe

from lakehouse.quality import Suite, drop

suite = Suite(
    [
        drop(gxe.ExpectColumnValuesToNotBeNull(column="user")),
        drop(gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["view", "cart", "purchase", "refund"])),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="country", regex=r"^[A-Z]{2}$")),
        drop(gxe.ExpectColumnValuesToMatchRegex(column="page", regex=r"^/[a-z0-9/-]+$")),
        drop(gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=1_000_000)),
        drop(gxe.ExpectColumnValuesToBeBetween(column="quantity", min_value=1, max_value=100)),
    ]
)
