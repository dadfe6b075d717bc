"""How each client library reaches each server: the one place that turns settings into a library's own options.

A server with an authority of its own (``….ca``) is only spoken to over TLS, and must show a certificate of that authority for the name
that it is reached by.
"""

from __future__ import annotations

import os
import ssl
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from platformdirs import user_cache_path

from lakehouse.settings import KafkaSettings, Settings

if TYPE_CHECKING:
    from valkey import Valkey

TRUSTSTORE_PASSWORD = "tidemill"  # noqa: S105 - Java wants one, although certificates are no secret
_JAAS = {"PLAIN": "plain.PlainLoginModule"}
_SCRAM = "scram.ScramLoginModule"
_JDBC_NAMES = {
    "user": "user",
    "password": "password",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslnegotiation": "sslNegotiation",
}
_PYTHON_NAMES = {  # where kafka-python's name is not the option's with underscores
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.mechanisms": "sasl_mechanism",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
}


def librdkafka(settings: Settings) -> dict[str, Any]:
    """Return what confluent-kafka needs to find the broker, and to be let in."""
    kafka = settings.kafka
    return {"bootstrap.servers": settings.require("kafka"), **_rdkafka_security(kafka), **kafka.options}


def kafka_python(settings: Settings) -> dict[str, Any]:
    """Return what kafka-python needs to find the broker, and to be let in."""
    options = {**_rdkafka_security(settings.kafka), **settings.kafka.options}
    named = {_PYTHON_NAMES.get(name, name.replace(".", "_")): value for name, value in options.items()}
    return {"bootstrap_servers": settings.require("kafka").split(","), "client_id": "tidemill", **named}


def spark_kafka(settings: Settings) -> dict[str, str]:
    """Return what Spark's Kafka source and sink need to find the broker, and to be let in."""
    kafka = settings.kafka
    options = {"bootstrap.servers": settings.require("kafka"), **_protocol(kafka)}
    if kafka.ca:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(kafka.ca)}
    if kafka.username:
        module = _JAAS.get(kafka.mechanism, _SCRAM)
        name, password = (_jaas_text(text) for text in (kafka.username, _password(kafka)))
        options |= {
            "sasl.mechanism": kafka.mechanism,
            "sasl.jaas.config": f"org.apache.kafka.common.security.{module} required username={name} password={password};",
        }
    return {f"kafka.{key}": value for key, value in (options | kafka.options).items()}


def _rdkafka_security(kafka: KafkaSettings) -> dict[str, str]:
    options = _protocol(kafka)
    if kafka.ca:
        options["ssl.ca.location"] = str(kafka.ca)
    if kafka.username:
        options |= {"sasl.mechanisms": kafka.mechanism, "sasl.username": kafka.username, "sasl.password": _password(kafka)}
    return options


def _protocol(kafka: KafkaSettings) -> dict[str, str]:
    match bool(kafka.username), bool(kafka.ca):
        case False, False:
            return {}
        case False, True:
            return {"security.protocol": "SSL"}
        case _, encrypted:
            return {"security.protocol": "SASL_SSL" if encrypted else "SASL_PLAINTEXT"}


def _password(kafka: KafkaSettings) -> str:
    return kafka.password.get_secret_value() if kafka.password else ""


def _jaas_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def postgres_dsn(settings: Settings) -> str:
    """Return the connection string for libpq: psycopg's and ADBC's. What it says itself about TLS counts."""
    dsn, ca = settings.require("postgres"), settings.postgres.ca
    if ca is None:
        return dsn
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    given: dict[str, Any] = conninfo_to_dict(dsn)
    return make_conninfo(**{"sslmode": "verify-full", "sslrootcert": str(ca)} | given)


def postgres_jdbc(settings: Settings) -> tuple[str, dict[str, str]]:
    """Return the URL for the JVM's driver, and the options that go with it, which hold the password."""
    from psycopg.conninfo import conninfo_to_dict

    given = {name: str(value) for name, value in conninfo_to_dict(postgres_dsn(settings)).items() if value}
    url = f"jdbc:postgresql://{given.get('host')}:{given.get('port', '5432')}/{given.get('dbname', '')}"
    return url, {ours: given[name] for name, ours in _JDBC_NAMES.items() if name in given}


def valkey_client(settings: Settings, **options: Any) -> Valkey:
    """Return a client of the cache.

    Args:
        settings: Where it is.
        options: Further ones of valkey-py's.
    """
    import valkey

    if settings.valkey.ca:
        options |= {"ssl_ca_certs": str(settings.valkey.ca), "ssl_check_hostname": True}
    client: Valkey = valkey.Valkey.from_url(settings.require("valkey"), **options)
    return client


def s3fs_options(settings: Settings) -> dict[str, Any]:
    """Return what s3fs needs to reach the object store."""
    s3 = settings.s3
    return {
        "key": s3.access_key,
        "secret": s3.secret_key.get_secret_value() if s3.secret_key else None,
        "endpoint_url": settings.require("s3"),
        "client_kwargs": {"region_name": s3.region} | ({"verify": str(s3.ca)} if s3.ca else {}),
    }


def delta_rs(settings: Settings) -> dict[str, str]:
    """Return what delta-rs needs to reach the object store.

    delta-rs has no option for an authority. It trusts what the environment variable ``SSL_CERT_FILE`` of the process names, so that
    is set to a file with the authority and with those that were trusted before.
    """
    s3 = settings.s3
    if s3.ca:
        _trust(s3.ca)
    return {
        "AWS_ENDPOINT_URL": settings.require("s3"),
        "AWS_ACCESS_KEY_ID": s3.access_key or "",
        "AWS_SECRET_ACCESS_KEY": s3.secret_key.get_secret_value() if s3.secret_key else "",
        "AWS_REGION": s3.region,
        "AWS_ALLOW_HTTP": str(s3.ca is None).lower(),
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }


def _trust(ca: Path) -> None:
    """Let this process trust an authority beside those that it trusts; others may read that file, for nothing in it is secret."""
    mine = ca.read_text()
    trusted = Path(os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or certifi.where()).read_text()
    if mine in trusted:
        return
    folder = user_cache_path("tidemill") / "trust"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{sha256((mine + trusted).encode()).hexdigest()[:16]}.pem"
    staging = file.with_suffix(f".{os.getpid()}")
    staging.write_text(mine + trusted)
    staging.replace(file)
    os.environ["SSL_CERT_FILE"] = str(file)


def s3a(settings: Settings) -> dict[str, str]:
    """Return the Spark options with which Hadoop's S3A reaches the object store; none when it is not known where that is."""
    s3 = settings.s3
    if not s3.endpoint_url:
        return {}
    options = {
        "endpoint": s3.endpoint_url,
        "endpoint.region": s3.region,
        "access.key": s3.access_key or "",
        "secret.key": s3.secret_key.get_secret_value() if s3.secret_key else "",
        "path.style.access": "true",
        "connection.ssl.enabled": str(s3.endpoint_url.startswith("https")).lower(),
    }
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in options.items()}


def jvm_trust(settings: Settings, folder: Path) -> list[str]:
    """Return the flags that make a JVM trust the object store's authority, which S3A has no option for.

    Args:
        settings: Where the authority is; without one there are no flags.
        folder: Where the file for Java is written.
    """
    if not settings.s3.ca:
        return []
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    certificates = x509.load_pem_x509_certificates(settings.s3.ca.read_bytes())
    named = [pkcs12.PKCS12Certificate(each, f"s3-{n}".encode()) for n, each in enumerate(certificates)]
    file = folder / "trust.p12"
    file.write_bytes(pkcs12.serialize_java_truststore(named, BestAvailableEncryption(TRUSTSTORE_PASSWORD.encode())))
    return [
        f"'-Djavax.net.ssl.trustStore={file}'",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={TRUSTSTORE_PASSWORD}",
    ]


def trusting(ca: str | Path | None) -> ssl.SSLContext:
    """Return what httpx and websockets check a server's certificate with: an authority, or else those that the system trusts."""
    return ssl.create_default_context(cafile=str(ca) if ca else None)
