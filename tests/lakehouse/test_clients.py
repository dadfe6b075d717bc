"""The options of each client library, as they follow from the settings."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import certifi
import pytest
from psycopg.conninfo import conninfo_to_dict

from lakehouse import clients
from lakehouse.security.authority import Authority
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

SERVERS = {
    "kafka": {"bootstrap_servers": "a:1,b:2"},
    "postgres": {"dsn": "postgresql://me:secret@db:5432/lake"},
    "valkey": {"url": "rediss://:secret@cache:6379/0"},
    "s3": {"endpoint_url": "https://s3.example", "access_key": "a", "secret_key": "b"},
}


def settings(**more: dict[str, Any]) -> Settings:
    return Settings.model_validate({part: {**section, **more.get(part, {})} for part, section in SERVERS.items()})


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    made = Authority(Workspace(tmp_path, {}))
    made.renew(Settings())
    return made.ca


def test_what_is_plain_stays_plain() -> None:
    plain = settings()
    assert clients.librdkafka(plain) == {"bootstrap.servers": "a:1,b:2"}
    assert clients.kafka_python(plain) == {"bootstrap_servers": ["a:1", "b:2"], "client_id": "tidemill"}
    assert clients.spark_kafka(plain) == {"kafka.bootstrap.servers": "a:1,b:2"}
    assert clients.postgres_dsn(plain) == SERVERS["postgres"]["dsn"]
    assert clients.jvm_trust(plain, Path()) == []


def test_a_broker_that_one_signs_in_at_over_tls() -> None:
    mine = settings(kafka={"username": "me", "password": 'a"b\\c', "mechanism": "SCRAM-SHA-512", "ca": "/ca.pem"})
    assert clients.librdkafka(mine) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/ca.pem",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": 'a"b\\c',
    }
    assert clients.kafka_python(mine) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "tidemill",
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "/ca.pem",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": 'a"b\\c',
    }
    assert clients.spark_kafka(mine) == {
        "kafka.bootstrap.servers": "a:1,b:2",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": "/ca.pem",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": (
            'org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="a\\"b\\\\c";'
        ),
    }


@pytest.mark.parametrize(
    ("section", "protocol"),
    [
        ({"ca": "/ca.pem"}, "SSL"),
        ({"username": "me", "password": "x"}, "SASL_PLAINTEXT"),
        ({"username": "me", "ca": "/c"}, "SASL_SSL"),
    ],
)
def test_the_protocol_follows_from_what_is_set_and_options_win(section: dict[str, str], protocol: str) -> None:
    assert clients.librdkafka(settings(kafka=section))["security.protocol"] == protocol
    said = settings(kafka={**section, "options": {"security.protocol": "SASL_SSL"}})
    assert clients.librdkafka(said)["security.protocol"] == "SASL_SSL"
    assert clients.spark_kafka(said)["kafka.security.protocol"] == "SASL_SSL"


def test_postgres_checks_the_certificate_unless_its_own_address_says_otherwise() -> None:
    found = conninfo_to_dict(clients.postgres_dsn(settings(postgres={"ca": "/my ca.pem"})))
    assert found == {
        "user": "me",
        "password": "secret",
        "host": "db",
        "port": "5432",
        "dbname": "lake",
        "sslmode": "verify-full",
        "sslrootcert": "/my ca.pem",
    }
    own = {"ca": "/ca.pem", "dsn": "host=db sslmode=verify-ca"}
    assert conninfo_to_dict(clients.postgres_dsn(settings(postgres=own)))["sslmode"] == "verify-ca"


def test_valkey_checks_the_certificate_and_the_name() -> None:
    with clients.valkey_client(settings(valkey={"ca": "/ca.pem"}), socket_timeout=1) as client:
        found = client.connection_pool.connection_kwargs
    assert found["ssl_ca_certs"] == "/ca.pem"
    assert found["ssl_check_hostname"] is True
    assert found["socket_timeout"] == 1


def test_s3_by_each_library(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mine = settings(s3={"ca": str(ca)})
    assert clients.s3fs_options(mine)["client_kwargs"]["verify"] == str(ca)
    assert clients.delta_rs(mine)["AWS_ALLOW_HTTP"] == "false"
    trusted = Path(os.environ["SSL_CERT_FILE"])
    context = ssl.create_default_context(cafile=str(trusted))
    assert context.cert_store_stats()["x509_ca"] > 50, "what was trusted before still is"
    assert ca.read_text() in trusted.read_text()
    clients.delta_rs(mine)
    assert Path(os.environ["SSL_CERT_FILE"]) == trusted
    assert clients.s3a(mine)["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "true"
    folder = tmp_path / "my spark"
    folder.mkdir()
    flags = clients.jvm_trust(mine, folder)
    assert f"'-Djavax.net.ssl.trustStore={folder / 'trust.p12'}'" in flags
    listed = ["keytool", "-list", "-keystore", str(folder / "trust.p12"), "-storepass", clients.TRUSTSTORE_PASSWORD]
    assert "trustedCertEntry" in subprocess.run(listed, capture_output=True, text=True, check=True).stdout
