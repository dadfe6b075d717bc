"""Nobody is let in without TLS, and nobody else is taken for this workspace's servers."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import adbc_driver_flightsql.dbapi as adbc
import httpx2 as httpx
import psutil
import psycopg
import pytest
import valkey
from confluent_kafka import KafkaException
from secured import ASK, ask_kafka, changed, flight_rows, greeted, processes
from websockets.exceptions import InvalidMessage
from websockets.sync.client import connect

from lakehouse.clients import trusting
from lakehouse.security.authority import Authority
from lakehouse.serving.gateway.endpoint import Endpoint as Gateway
from lakehouse.serving.push.endpoint import Endpoint as Push
from lakehouse.settings import PARTS, Part, Settings
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.state import StackState
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

REFUSED = (KafkaException, psycopg.OperationalError, valkey.ConnectionError, OSError)


def without_tls(settings: Settings, part: Part) -> list[Settings]:
    """What clients would set that know who they are, but not that the server is secure."""
    match part:
        case "kafka":
            return [changed(settings, part, ca=None), changed(settings, part, ca=None, username=None)]
        case "s3":
            return [changed(settings, part, ca=None, endpoint_url=settings.require(part).replace("https:", "http:"))]
        case "postgres":
            bare = settings.require(part).partition("?")[0]
            return [changed(settings, part, ca=None, dsn=f"{bare}?sslmode={mode}") for mode in ("disable", "prefer")]
        case "valkey":
            return [changed(settings, part, ca=None, url=settings.require(part).replace("rediss:", "redis:"))]


@pytest.mark.parametrize("part", PARTS)
def test_a_client_without_tls_is_refused_and_so_is_a_server_of_another_authority(
    settings: Settings, part: Part, other_ca: Path
) -> None:
    ASK[part](settings)
    for plain in without_tls(settings, part):
        with pytest.raises(REFUSED):
            ASK[part](plain)
    with pytest.raises(REFUSED):
        ASK[part](changed(settings, part, ca=other_ca))
    with pytest.raises(REFUSED):  # nor does one that the system trusts do
        ASK[part](changed(settings, part, ca=None))


def test_a_wrong_password_is_refused_by_kafka(settings: Settings) -> None:
    with pytest.raises(KafkaException):
        ask_kafka(changed(settings, "kafka", password="wrong"))


def test_the_services_are_reached_over_tls_only(workspace: Workspace, other_ca: Path) -> None:
    http, push = Gateway.of(workspace), Push.of(workspace)
    assert http.ca is not None
    assert httpx.get(f"{http.url}/health", verify=trusting(http.ca)).is_success
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{http.url.replace('https:', 'http:')}/health")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{http.url}/health", verify=trusting(other_ca))

    assert flight_rows(workspace, "SELECT 1 AS n") == [(1,)]
    for options in ({"where": http.flight.replace("grpc+tls:", "grpc:")}, {"ca": other_ca}):
        with pytest.raises(adbc.Error):
            flight_rows(workspace, "SELECT 1 AS n", **options)

    live = f"{push.url}/live/gulls"
    with pytest.raises((OSError, InvalidMessage)):
        connect(live.replace("wss:", "ws:"), proxy=None)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(live, ssl=trusting(other_ca), proxy=None)


def doors(workspace: Workspace) -> dict[str, int]:
    """Every port that something of the workspace's should listen on, by name."""
    ports = {f"{part}.{name}": port for part, some in StackState.load(workspace).ports.items() for name, port in some.items()}
    services = {"gateway": Gateway.of(workspace).url, "flight": Gateway.of(workspace).flight, "push": Push.of(workspace).url}
    return ports | {name: int(url.rpartition(":")[2]) for name, url in services.items()}


def listening(workspace: Workspace) -> set[int]:
    """Every port that one of them listens on."""
    found = [connection for process in processes(workspace) for connection in process.net_connections("inet")]
    return {connection.laddr.port for connection in found if connection.status == psutil.CONN_LISTEN}


def hear(port: int, said: bytes) -> bytes:
    """Return what a port answers to plain text."""
    with socket.create_connection((LOOPBACK, port), timeout=5) as plain:
        plain.sendall(said)
        try:
            return plain.recv(1024)
        except ConnectionError:
            return b""


# SeaweedFS fetches encrypted chunks over plain HTTP, whatever it is told: see lakehouse/stack/s3.py.
VOLUME = "s3.volume"
# Between the roles of one server, both sides show a certificate.
INSIDE = {"kafka.controller", "s3.filer", "s3.master", *(f"s3.{role}_grpc" for role in ("s3", "filer", "master", "volume"))}
ALERT = b"\x15\x03"  # TLS's
PLAIN = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"PING\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # PostgreSQL's question whether there is TLS
)


def test_no_port_takes_plain_text_or_shows_another_certificate(workspace: Workspace, other_ca: Path) -> None:
    known = doors(workspace)
    assert listening(workspace) == set(known.values())
    authority = Authority(workspace)
    invited = trusting(authority.ca)
    invited.load_cert_chain(authority.certificate)
    for name, port in known.items():
        if name == VOLUME:
            continue
        for said in PLAIN:
            answer = hear(port, said)
            assert not answer or answer.startswith(ALERT) or b"400 Bad Request" in answer, (name, said, answer)
        with greeted(port, invited):
            pass
        with pytest.raises(ssl.SSLCertVerificationError), greeted(port, trusting(other_ca)):
            pass
        if name in INSIDE:
            with pytest.raises(ssl.SSLError, match="CERTIFICATE"), greeted(port, trusting(authority.ca)) as met:
                met.recv(1)


def test_the_port_of_the_volumes_gives_nothing_to_those_without_a_token(workspace: Workspace) -> None:
    where = f"http://{LOOPBACK}:{doors(workspace)[VOLUME]}/1,01637037d6"
    assert [httpx.request(method, where).status_code for method in ("GET", "PUT", "DELETE")] == [401] * 3
