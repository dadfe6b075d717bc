"""A feed with personal data, and what it sends."""

from __future__ import annotations

import json
from typing import Any

BRONZE = """
from lakehouse.catalog import Kafka, bronze
{feed} = bronze("{feed}", source=Kafka(topic="{topic}", partitions=2))
"""
SILVER = """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Bronze, Json, Personal, silver

@silver(
    "{feed}",
    keys=["id"],
    parse=Json("id STRING, at TIMESTAMP, airline STRING, email STRING, name STRING, seat INT"),
    event_time="at", watermark="1 day", future="1 hour", suite="silver/{feed}",
    pii=Personal("email", tenant="airline", tokens=["email"], sealed=["name", "seat"]),
)
def {feed}(records: Annotated[DataFrame, Bronze("{feed}")]) -> DataFrame:
    return records.select("_record", "id", "at", "airline", "email", "name", "seat")
"""
SUITE = """
from great_expectations import expectations as gxe
from lakehouse.quality import Suite, drop
suite = Suite([drop(gxe.ExpectColumnValuesToMatchRegex(column="email", regex="@"))])
"""
AT = "2013-01-01T00:00:00Z"


def booking(number: int, email: str, **more: Any) -> bytes:
    row = {"id": f"b{number}", "at": AT, "airline": "UA", "email": email, "name": f"Zoë {email}", "seat": number}
    return json.dumps({**row, **more}, ensure_ascii=False).encode()
