"""The one typed ``Settings``, read once at the start of a command.

Precedence, highest first: ``TIDEMILL_…`` environment variables (``__`` between levels), the workspace's ``tidemill.toml``,
what ``tidemill up`` wrote for its embedded servers, the defaults here. A server whose address comes from one of the first
two is external: Tidemill connects to it, and starts nothing for that part.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from lakehouse.errors import SettingsError
from lakehouse.workspace import Workspace

Part = Literal["kafka", "s3", "postgres", "valkey"]
PARTS: tuple[Part, ...] = ("kafka", "s3", "postgres", "valkey")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""What this machine is called in addresses that do not leave it."""
_ADDRESS: dict[Part, str] = {"kafka": "bootstrap_servers", "s3": "endpoint_url", "postgres": "dsn", "valkey": "url"}


_CA = "PEM file of the authorities that its certificate may be from; with one, it is only spoken to over TLS."


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """Where the broker is, and how topics are made."""

    bootstrap_servers: str | None = Field(default=None, description="`host:port[,host:port…]` of the broker.")
    partitions: int = Field(2, ge=1, description="Partitions of a topic that Tidemill makes.")
    username: str | None = Field(default=None, description="Who signs in at the broker (SASL); nobody when left out.")
    password: SecretStr | None = Field(default=None, description="Their password.")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("PLAIN", description="How they sign in.")
    ca: Path | None = Field(default=None, description=_CA)
    options: dict[str, str] = Field({}, description="Further client options, passed on as they are (`security.protocol`, …).")


class S3Settings(_Section):
    """Where the object store is. Everything that Tidemill keeps lies under one bucket."""

    endpoint_url: str | None = Field(default=None, description="URL of the S3 endpoint.")
    access_key: str | None = Field(default=None, description="Access key id.")
    secret_key: SecretStr | None = Field(default=None, description="Secret access key.")
    region: str = Field("us-east-1", description="Region name that requests are signed for.")
    bucket: str = Field("lake", description="Bucket of the lake; made when it is not there.")
    ca: Path | None = Field(default=None, description="PEM file of the authorities that the endpoint's certificate may be from.")
    encrypt: bool = Field(False, description="Let the store encrypt what is put into a bucket that Tidemill makes (SSE-S3).")


class PostgresSettings(_Section):
    """Where PostgreSQL is: leases, the ledger and progress; later the hot store."""

    dsn: SecretStr | None = Field(default=None, description="`postgresql://user:password@host:port/database`.")
    ca: Path | None = Field(default=None, description=_CA)


class ValkeySettings(_Section):
    """Where the Redis-protocol cache is."""

    url: SecretStr | None = Field(default=None, description="`redis://:password@host:port/0`; `rediss://…` over TLS.")
    ca: Path | None = Field(default=None, description="PEM file of the authorities that its certificate may be from.")


class LakeSettings(_Section):
    """How the lake lane runs."""

    cores: int | None = Field(default=None, description="Spark task slots; the machine's cores when left out.")
    driver_memory: str = Field("3g", description="Heap of the Spark driver.")
    trigger: str = Field("1 second", description="Shortest time between two batches of a table in continuous running.")
    max_records_per_batch: int = Field(4_000_000, ge=1, description="Most Kafka records in one bronze batch.")
    validate_every: str = Field("5 minutes", description="Cadence of Great Expectations over what landed.")
    optimize_every: int = Field(20, ge=2, description="Batches of a table between two compactions.")
    vacuum_retention: str = Field("24 hours", description="How long files that no version uses any more are kept.")
    lease_seconds: int = Field(15, ge=3, description="Life of the writer's lease without a heartbeat.")


class FastSettings(_Section):
    """How the fast lane runs."""

    cores: int | None = Field(default=None, ge=1, description="Spark task slots; one a partition, and one, when left out.")
    driver_memory: str = Field("1g", description="Heap of the fast lane's Spark driver.")
    batch: str = Field(
        "10 minutes",
        description="How long a Real-time Mode batch lasts. Between two there is a pause; a crash reads one again.",
    )
    windows_trigger: str = Field(
        "1 second",
        description="How often windows are computed, when something came. Each time costs the object store a few small files.",
    )
    refresh_seconds: float = Field(60, gt=0, description="How often reference data is looked at for changes.")


class PushSettings(_Section):
    """How live rows are pushed to WebSocket clients."""

    address: str = Field("127.0.0.1", description="Where the push service listens.")
    port: int = Field(0, ge=0, le=65_535, description="Its port; 0: a free one, which it keeps.")
    token: SecretStr | None = Field(default=None, description="Secret that lets clients in; generated when left out.")
    origins: list[str] = Field(
        [], description="Origins (`https://host`) of pages elsewhere that may connect; this machine's may."
    )
    ring_rows: int = Field(50_000, ge=1, description="Recent rows of a feed that are kept for clients that lag or come back.")
    stall_seconds: float = Field(10, gt=0, description="A client that takes nothing for so long is dropped.")


class GatewaySettings(_Section):
    """How the gateway answers."""

    address: str = Field("127.0.0.1", description="Where the gateway listens.")
    port: int = Field(0, ge=0, le=65_535, description="Its port; 0: a free one.")
    flight_port: int = Field(0, ge=0, le=65_535, description="Its port for Arrow Flight SQL; 0: a free one.")
    workers: int = Field(1, ge=1, description="Processes that answer.")
    max_rows: int = Field(1_000_000, ge=1, description="Most rows of an answer.")
    max_seconds: float = Field(60, gt=0, description="Longest that a query may take.")
    fresh_seconds: float = Field(1, ge=0, description="How old the newest version of a table may be that is answered from.")
    cache_seconds: int = Field(300, ge=0, description="How long answers are kept for those who ask the same; 0: not at all.")
    hold_mb: int = Field(
        256, ge=0, description="Megabytes of small tables that are kept in memory, each up to an eighth; 0: none."
    )
    max_mb: int = Field(4_000, ge=1, description="Megabytes of files that a query may read, by estimate.")
    at_once: int = Field(4, ge=1, description="Queries that run side by side in a process, each with up to 1 GiB of memory.")
    tenant_at_once: int = Field(3, ge=1, description="Queries of one tenant that run side by side in a process; more wait.")
    tenant_waiting: int = Field(100, ge=0, description="Queries of one tenant that may wait; more are refused with 429.")


class OidcSettings(_Section):
    """Whose tokens say who a user is."""

    issuer: str | None = Field(default=None, description="Address of the OpenID Connect provider.")
    ca: Path | None = Field(default=None, description="PEM file of the authorities that its certificate may be from.")
    audience: str = Field("tidemill", description="What `aud` of a token must name.")
    algorithms: list[str] = Field(["RS256", "ES256", "Ed25519"], description="Signatures that count; none with a shared secret.")
    tenant_claim: str = Field("tenant", description="Claim that names the user's tenant.")
    roles_claim: str = Field("roles", description="Claim that lists the user's roles.")
    redirects: list[str] = Field([], description="Addresses that the local issuer sends people back to, beside this machine's.")
    leeway_seconds: int = Field(30, ge=0, description="By how much the provider's clock may differ.")
    keys_seconds: float = Field(300, gt=0, description="How long the provider's keys are kept before they are fetched again.")


class EncryptionSettings(_Section):
    """What is encrypted on the wire and on local disk; `tidemill up --secure` sets the first two."""

    services: bool | None = Field(
        default=None,
        description="Whether the gateway, the push service and the pages speak TLS only; left out: when the workspace is secure, "
        "or one of them listens outside this machine.",
    )
    spill: bool = Field(False, description="Encrypt what Spark writes to local disk while it shuffles and spills.")
    names: list[str] = Field([], description="Further names and addresses that the workspace's own certificate is for.")
    certificate: Path | None = Field(
        default=None,
        description="PEM file of a certificate with its chain and key, for these services; the workspace's own when left out.",
    )
    ca: Path | None = Field(default=None, description="PEM file of the authority of that certificate, for those who connect.")


class QualitySettings(_Section):
    """What is kept of validations."""

    results_retention: str = Field("30 days", description="How long validation results are kept.")


class KeysSettings(_Section):
    """Which keys protect personal data."""

    master: str = Field(
        "",
        description="Master key: `aws-kms://arn:aws:kms:…` or `hcvault://host/mount/keys/name`; a file of the workspace when empty.",
    )
    quarantine_days: int = Field(
        30, ge=1, description="How long records of feeds with personal data can be read of which nobody can say whose they are."
    )


class Settings(BaseSettings):
    """Everything that can be set, with its meaning; ``docs/settings.md`` is generated from here."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEMILL_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    s3: S3Settings = S3Settings()
    postgres: PostgresSettings = PostgresSettings()
    valkey: ValkeySettings = ValkeySettings()
    lake: LakeSettings = LakeSettings()
    fast: FastSettings = FastSettings()
    push: PushSettings = PushSettings()
    quality: QualitySettings = QualitySettings()
    oidc: OidcSettings = OidcSettings()
    gateway: GatewaySettings = GatewaySettings()
    keys: KeysSettings = KeysSettings()
    encryption: EncryptionSettings = EncryptionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before the two files (which :meth:`load` passes in already merged)."""
        return env_settings, init_settings

    @classmethod
    def load(cls, workspace: Workspace) -> Settings:
        """Read the settings of a workspace.

        Raises:
            SettingsError: A value is wrong; the message names the setting.
        """
        declared = {key: value for key, value in workspace.config.items() if key in cls.model_fields}
        if unknown := set(workspace.config) - set(cls.model_fields) - {"workspace", "demo"}:
            raise SettingsError(
                f"{workspace.root / 'tidemill.toml'}: unknown section {sorted(unknown)}; known: "
                f"{sorted([*cls.model_fields, 'workspace', 'demo'])}."
            )
        try:
            return cls(**_merge(_embedded(workspace), declared))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"Setting {name}: {first['msg']}.") from error

    def require(self, part: Part) -> str:
        """Return the address of a server.

        Raises:
            SettingsError: It has none: neither set, nor started by ``tidemill up``.
        """
        value = getattr(getattr(self, part), _ADDRESS[part])
        if value is None:
            raise SettingsError(
                f"No {part} server is known: run `tidemill up`, or set TIDEMILL_{part.upper()}__{_ADDRESS[part].upper()}."
            )
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    @property
    def lake_uri(self) -> str:
        """Root of all tables, as Spark writes it."""
        return f"s3a://{self.s3.bucket}"

    @property
    def encrypts_services(self) -> bool:
        """Whether the gateway, the push service and the pages speak TLS only."""
        outside = {self.gateway.address, self.push.address} - LOOPBACK_NAMES
        return bool(outside) if self.encryption.services is None else self.encryption.services


def external_parts(workspace: Workspace) -> set[Part]:
    """Return the parts whose address comes from the environment or from ``tidemill.toml``: those are never started."""
    environment = EnvSettingsSource(Settings, env_prefix="TIDEMILL_", env_nested_delimiter="__")()
    return {
        part for part in PARTS if _ADDRESS[part] in environment.get(part, {}) or _ADDRESS[part] in workspace.config.get(part, {})
    }


def embedded_path(workspace: Workspace) -> Path:
    """Return the file where ``tidemill up`` keeps the addresses and credentials of the servers it started (mode 0600)."""
    return workspace.state / "stack.json"


def _embedded(workspace: Workspace) -> dict[str, Any]:
    path = embedded_path(workspace)
    try:
        found = json.loads(path.read_text())
        sections: dict[str, Any] = {part: found["settings"][part] for part in PARTS if part in found.get("settings", {})}
        secure = found.get("secure")
        return sections if secure is None else {**sections, "encryption": {"services": secure, "spill": secure}}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); `tidemill down --wipe` starts afresh.") from error


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
    return merged
