"""The live table that is asked for points and windows."""

from typing import Annotated

from pyspark.sql import DataFrame

from lakehouse.catalog import Silver
from lakehouse.livetables import live


@live("ticks", keys=["id"], sequence_by="sent_us")
def ticks(ticks: Annotated[DataFrame, Silver("ticks")]) -> DataFrame:
    """Each tick, as it comes."""
    return ticks.select("_record", "sent_us", "id", "shard", "price", "venue", "account", "at")
