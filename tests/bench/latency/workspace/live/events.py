"""Shop events as they are shown at once."""

from typing import Annotated

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.catalog import Reference, Silver
from lakehouse.livetables import live


@live("events", keys=["id"], sequence_by="sent_us", retention="20 minutes", window="5 minutes")
def events(seen: Annotated[DataFrame, Silver("events")], countries: Annotated[DataFrame, Reference("countries")]) -> DataFrame:
    """Each event, with the country's name."""
    return seen.join(F.broadcast(countries), "country", "left").select(
        "_record", "id", "sent_us", "happened_at", "kind", "country", "country_name", "page", "amount", "quantity", "user"
    )
