"""The workspace's own certificate authority, and the certificate that its servers and services show.

Both are made with the ``cryptography`` package, and kept in the state folder, where only their owner can read the keys. The certificate
is for the names of this machine, so a client checks whom it speaks to; servers that speak to themselves show it in both directions.
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lakehouse.settings import LOOPBACK_NAMES, Settings
from lakehouse.stack.state import write_private
from lakehouse.workspace import Workspace

_AUTHORITY_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=397)  # browsers take no more (https://cabforum.org/working-groups/server/baseline-requirements/)
_RENEWED_BEFORE = timedelta(days=30)
_SKEW = timedelta(hours=1)


class Authority:
    """The authority of a workspace.

    Attributes:
        ca: PEM file of its own certificate, for those who connect.
        certificate: PEM file of the servers' certificate and its key, in one.
    """

    def __init__(self, workspace: Workspace) -> None:
        folder = workspace.state / "tls"
        self.ca = folder / "ca.pem"
        self.certificate = folder / "server.pem"
        self._key = folder / "ca.key"

    def renew(self, settings: Settings) -> None:
        """Make the authority and the certificate where they are not there, soon expire, or lack a name.

        Args:
            settings: Say where services listen, and further names.
        """
        names = names_of(settings)
        with self._alone():
            authority = self._authority()
            if authority is None or _ends_within(authority[0], _LIFE + _RENEWED_BEFORE):
                authority = self._make_authority()
            shown = self.shown()
            if (
                shown is None
                or _ends_within(shown, _RENEWED_BEFORE)
                or not names <= _names(shown)
                or not _is_from(shown, authority[0])
            ):
                self._make_certificate(*authority, names)

    def shown(self) -> x509.Certificate | None:
        """Return the certificate that servers show; ``None`` when there is none."""
        with suppress(OSError, ValueError):
            return x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return None

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
        with suppress(OSError, ValueError):
            key = load_pem_private_key(self._key.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(self.ca.read_bytes())
            if isinstance(key, ec.EllipticCurvePrivateKey) and certificate.public_key() == key.public_key():
                return certificate, key
        return None

    def _make_authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key, name = ec.generate_private_key(ec.SECP256R1()), _named(f"Tidemill {socket.gethostname()}"[:64])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(name, name, key.public_key(), _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self._key, _pem(key))
        write_private(self.ca, certificate.public_bytes(Encoding.PEM).decode())
        return certificate, key

    def _make_certificate(self, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, names: frozenset[str]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_named("Tidemill server"), ca.subject, key.public_key(), _LIFE)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in sorted(names)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        write_private(self.certificate, _pem(key) + certificate.public_bytes(Encoding.PEM).decode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.ca.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.ca.parent / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class Shown:
    """What the services of a workspace show to those who connect.

    Attributes:
        certificate: PEM file of the certificate, its chain and its key.
        ca: PEM file of its authority; ``None``: one that the system knows.
    """

    certificate: Path
    ca: Path | None

    @classmethod
    def of(cls, workspace: Workspace, settings: Settings) -> Shown | None:
        """Return it, renewed where it soon expires; ``None`` when the services speak in plain text."""
        if not settings.encrypts_services:
            return None
        if settings.encryption.certificate:
            return cls(settings.encryption.certificate, settings.encryption.ca)
        authority = Authority(workspace)
        authority.renew(settings)
        return cls(authority.certificate, authority.ca)


def names_of(settings: Settings) -> frozenset[str]:
    """Return the names and addresses by which this machine's servers and services are reached."""
    return LOOPBACK_NAMES | {socket.gethostname(), settings.gateway.address, settings.push.address, *settings.encryption.names}


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - _SKEW).not_valid_after(now + life)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _ends_within(certificate: x509.Certificate, span: timedelta) -> bool:
    return certificate.not_valid_after_utc - datetime.now(UTC) < span


def _names(certificate: x509.Certificate) -> set[str]:
    names: Iterable[x509.GeneralName] = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def _is_from(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
