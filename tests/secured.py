"""A secure stack as clients of each kind meet it."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_flightsql.dbapi as adbc
import psutil
import psycopg
from adbc_driver_flightsql import DatabaseOptions
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from s3fs import S3FileSystem

from lakehouse.clients import librdkafka, postgres_dsn, s3fs_options, valkey_client
from lakehouse.serving.gateway.endpoint import Endpoint as Gateway
from lakehouse.settings import PARTS, Part, Settings
from lakehouse.stack import supervisor
from lakehouse.stack.door import PROCESS
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.process import leftovers
from lakehouse.workspace import Workspace

MARKER = "a gull that nobody shall find"
CLOCK_MS = 1_357_000_000_000
GULLS, SEEN = 200, 20


def files(settings: Settings) -> S3FileSystem:
    once = {"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 0}}
    return S3FileSystem(**s3fs_options(settings), config_kwargs=once, skip_instance_cache=True, use_listings_cache=False)


def changed(settings: Settings, part: Part, **values: Any) -> Settings:
    section = getattr(settings, part)
    known = {name: getattr(section, name) for name in section.model_fields_set}
    return settings.model_copy(update={part: type(section).model_validate({**known, **values})})


def ask_kafka(settings: Settings) -> None:
    errors: list[KafkaError] = []
    client = AdminClient({**librdkafka(settings), "log_level": 0, "error_cb": errors.append})
    asked = client.describe_cluster(request_timeout=10)
    while not asked.done():  # by itself, the client would try again until the time is up
        client.poll(0.05)
        if errors:
            raise KafkaException(errors[0])
    asked.result()


def ask_s3(settings: Settings) -> None:
    files(settings).ls(settings.s3.bucket)


def ask_postgres(settings: Settings) -> None:
    with psycopg.connect(postgres_dsn(settings), connect_timeout=3) as connection:
        connection.execute("SELECT 1")


def ask_valkey(settings: Settings) -> None:
    with valkey_client(settings, socket_timeout=3) as client:
        client.ping()


ASK: dict[Part, Callable[[Settings], None]] = {
    "kafka": ask_kafka,
    "s3": ask_s3,
    "postgres": ask_postgres,
    "valkey": ask_valkey,
}


def flight_rows(workspace: Workspace, sql: str, where: str | None = None, ca: Path | None = None) -> list[Any]:
    here = Gateway.of(workspace)
    password = json.loads((workspace.state / "issuer.json").read_text())["passwords"]["kim"]
    options = {"username": "kim", "password": password}
    if where is None:
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = Path(ca or str(here.ca)).read_text()
    with adbc.connect(where or here.flight, db_kwargs=options, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def processes(workspace: Workspace) -> list[psutil.Process]:
    """Everything of the workspace's that runs: servers, what stands before them, services."""
    roots = [psutil.Process(server.pid) for server in supervisor.status(workspace) if server.pid]
    roots += [process for part in PARTS for process in leftovers(workspace.state / "data" / part, [PROCESS])]
    roots += [process for process in psutil.Process().children() if is_service(process, workspace)]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def is_service(process: psutil.Process, workspace: Workspace) -> bool:
    return process.environ().get("TIDEMILL_WORKSPACE") == str(workspace.root) and "--lane" in process.cmdline()


@contextmanager
def greeted(port: int, trust: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((LOOPBACK, port), timeout=5) as plain,
        trust.wrap_socket(plain, server_hostname=LOOPBACK) as met,
    ):
        yield met
