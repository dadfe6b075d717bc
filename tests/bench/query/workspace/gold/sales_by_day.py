"""Sales by day, shop and product: what dashboards show."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Silver, Trunc, gold


@gold("sales_by_day", keys=["day", "shop", "product"])
def sales_by_day(sales: Annotated[DataFrame, Silver("sales", day=Trunc("sold_at", "day"))]) -> DataFrame:
    """How much each shop sold of each product on each day, and to whom most."""
    return sales.groupBy(F.to_date("sold_at").alias("day"), "shop", "product").agg(
        F.count("*").alias("sales"), F.sum("amount").alias("revenue"), F.max_by("customer", "amount").alias("best_customer")
    )
