"""A workspace for tests of the gateway: tables, and users who may see different things of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pyarrow as pa
from live_lanes import running
from sightings import wait_for

from lakehouse.clients import trusting
from lakehouse.errors import SettingsError
from lakehouse.serving.gateway.endpoint import Endpoint
from lakehouse.workspace import Workspace

POLICY = """
roles:
  admin:
    - {tables: ["*"], columns: "*"}
  analyst:
    - tables: [silver.flights]
      columns: [id, carrier, tail, at, delay]
      rows: [{column: carrier, in: {claim: carriers}}]
      masks: {tail: hash}
    - tables: [gold.plans]
      columns: "*"
      purposes: [planning]
"""
USERS = """
users:
  ada: {tenant: united, roles: [analyst], attributes: {carriers: UA}}
  ben: {tenant: delta, roles: [analyst], attributes: {carriers: [DL, 9E]}}
  root: {tenant: tidemill, roles: [admin]}
"""
FILES = {
    "tidemill.toml": '[workspace]\nname = "doors"\n[s3]\nbucket = "doors"\n[gateway]\nmax_rows = 5000\nmax_seconds = 20\n',
    "policy.yml": POLICY,
    "users.yml": USERS,
    "bronze/flights.py": 'from lakehouse.catalog import Kafka, bronze\n\nflights = bronze("flights", source=Kafka("doors.flights"))\n',
    "silver/flights.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Bronze, Json, Personal, silver

@silver(
    "flights",
    keys=["id"],
    parse=Json("id BIGINT, carrier STRING, tail STRING, at TIMESTAMP, delay DOUBLE, salary BIGINT"),
    event_time="at",
    watermark="1 day",
    future="1 hour",
    pii=Personal("tail", tenant="carrier", sealed=["tail", "salary"]),
    tags=["operations", "on time"],
)
def flights(records: Annotated[DataFrame, Bronze("flights")]) -> DataFrame:
    \"\"\"Flights, one row each.\"\"\"
    return records.select("_record", "id", "carrier", "tail", "at", "delay", "salary")
""",
    "silver/secrets.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Silver, silver

@silver("secrets", keys=["id"])
def secrets(flights: Annotated[DataFrame, Silver("flights")]) -> DataFrame:
    return flights
""",
    "gold/plans.py": """
from typing import Annotated
from pyspark.sql import DataFrame
from lakehouse.catalog import Silver, gold

@gold("plans", keys=["id"])
def plans(flights: Annotated[DataFrame, Silver("flights")], secrets: Annotated[DataFrame, Silver("secrets")]) -> DataFrame:
    return flights.join(secrets, "id", "left_semi")
""",
}
ROWS = 9_000
CARRIERS = ("UA", "DL", "9E")
SignIn = Callable[[str], httpx.Client]


@contextmanager
def gateway(workspace: Workspace) -> Iterator[None]:
    """Run a workspace's gateway; back when it answers."""
    with running(workspace, "gateway") as process:

        def is_ready() -> bool:
            with suppress(SettingsError, httpx.HTTPError):
                here = Endpoint.of(workspace)
                return httpx.get(f"{here.url}/ready", verify=trusting(here.ca)).is_success
            return False

        wait_for(is_ready, "the gateway answers", process, 60)
        yield


def flights() -> pa.Table:
    """Return the rows of ``silver.flights``."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "id": range(ROWS),
            "carrier": [CARRIERS[n % 3] for n in range(ROWS)],
            "tail": [f"N{n % 50}" for n in range(ROWS)],
            "at": pa.array([start + timedelta(minutes=n) for n in range(ROWS)], pa.timestamp("us", "UTC")),
            "delay": [float("nan") if n == 0 else n / 4 for n in range(ROWS)],
            "salary": [n * 100 for n in range(ROWS)],
        }
    )
