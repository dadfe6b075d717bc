"""The keys of data subjects: each person's is wrapped by the tenant's, that by the workspace's, and that by a master key.

PostgreSQL keeps them, so one that is destroyed there is gone, and so is all that was sealed under it. Lanes find and make keys in the
JVM (``lakehouse/jvm/…/Keyring.java``); here is who owns the tables, reveals, destroys and rotates.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import tink
from tink import KeysetHandle, TinkError, aead, daead, prf, proto_keyset_format, secret_key_access
from tink.proto import tink_pb2

from lakehouse.control import Control
from lakehouse.errors import KeyringError
from lakehouse.security.master import master_aead
from lakehouse.security.pii import sealed_by
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

QUARANTINE = ""
"""The tenant of records of which nobody can say whose they are."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tidemill.workspace_key (one boolean PRIMARY KEY DEFAULT true CHECK (one), keyset bytea NOT NULL);
CREATE TABLE IF NOT EXISTS tidemill.tenant_key (tenant text PRIMARY KEY, wrap bytea NOT NULL, tokens bytea NOT NULL);
CREATE TABLE IF NOT EXISTS tidemill.subject_key (
    id uuid PRIMARY KEY, tenant text NOT NULL, subject bytea, payload bytea, pseudonyms bytea,
    created_at timestamptz NOT NULL DEFAULT now(), destroyed_at timestamptz, UNIQUE (tenant, subject));
"""
_DESTROY = (
    "UPDATE tidemill.subject_key SET subject = NULL, payload = NULL, pseudonyms = NULL, destroyed_at = now() "
    "WHERE destroyed_at IS NULL"
)
_ROTATED_AT_ONCE = 1_000


@dataclass(frozen=True)
class SubjectKey:
    """A subject's key, by its name only.

    Attributes:
        id: What records call it.
        tenant: Whose tenant's.
    """

    id: str
    tenant: str


class Keyring:
    """All keys of a workspace, for one process that may use them."""

    def __init__(self, workspace: Workspace, settings: Settings, control: Control) -> None:
        """Open the keyring; the workspace's keyset is made on first use.

        Raises:
            KeyringError: The master key is not there, or is another one.
        """
        for primitive in (aead, daead, prf):
            primitive.register()
        self._file = workspace.state / "master.key"
        self._next = workspace.state / "master.key.next"
        self._days = settings.keys.quarantine_days
        self._control = control
        control.run(_SCHEMA)
        uri = settings.keys.master
        self._root = self._open_root(master_aead(uri, self._file), uri)

    def _open_root(self, master: aead.Aead, uri: str) -> KeysetHandle:
        stored = self._control.run("SELECT keyset FROM tidemill.workspace_key")
        if not stored:
            fresh = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
            try:
                wrapped = proto_keyset_format.serialize_encrypted(fresh, master, b"")
            except TinkError as error:
                raise KeyringError(f"The master key does not encrypt: {error}") from error
            self._control.run("INSERT INTO tidemill.workspace_key (keyset) VALUES (%s) ON CONFLICT DO NOTHING", (wrapped,))
            stored = self._control.run("SELECT keyset FROM tidemill.workspace_key")
        try:
            return proto_keyset_format.parse_encrypted(stored[0]["keyset"], master, b"")
        except TinkError as error:
            if not uri and self._next.exists():  # moving to a new file was cut off
                self._next.replace(self._file)
                return self._open_root(master_aead(uri, self._file), uri)
            raise KeyringError(
                "The master key is not the one that the workspace's keys were made with; without that one, personal data stays sealed. "
                f"It is the setting keys.master, or {self._file}."
            ) from error

    def for_jvm(self) -> bytes:
        """Return the workspace's keyset in the clear, for the driver's JVM alone."""
        keyset: bytes = proto_keyset_format.serialize(self._root, secret_key_access.TOKEN)
        return keyset

    def find(self, subject: str, tenant: str | None = None) -> list[SubjectKey]:
        """Return the keys of a person, one for each tenant that knows them; all tenants when none is named."""
        keys = []
        for name, tokens in self._tokens.items():
            if tenant in (None, name) and name != QUARANTINE:
                index = tokens.encrypt_deterministically(_normal(subject).encode(), b"subject")
                found = self._control.run("SELECT id FROM tidemill.subject_key WHERE tenant = %s AND subject = %s", (name, index))
                keys += [SubjectKey(str(row["id"]), name) for row in found]
        return keys

    def destroy(self, keys: Sequence[SubjectKey]) -> None:
        """Destroy keys, and what says whose they were; nothing brings them back."""
        ids = [key.id for key in keys]
        self._sweep(self._control.run(f"{_DESTROY} AND id = ANY(%s::uuid[]) RETURNING id", (ids,)))

    def expire_quarantine(self) -> None:
        """Destroy the keys of records of which nobody could say whose they are, some days after they were made."""
        old = "tenant = %s AND created_at < now() - make_interval(days => %s)"
        self._sweep(self._control.run(f"{_DESTROY} AND {old} RETURNING id", (QUARANTINE, self._days)))

    def _sweep(self, destroyed: Sequence[object]) -> None:
        if destroyed:  # the old rows would lie in the table's file until some time later
            self._control.outside("VACUUM (INDEX_CLEANUP ON) tidemill.subject_key")

    def reveal(self, values: Sequence[str | None], place: str) -> list[str | None]:
        """Return what is sealed in values of a column.

        Args:
            values: The column's values.
            place: What they are bound to, see :func:`lakehouse.security.pii.place`.

        Returns:
            Each one's text; ``None`` where the key was destroyed, or the value was not sealed at this place.
        """
        parts = [sealed_by(value) if value is not None else ("", "") for value in values]
        keys = self._opened({key for key, _ in parts if key})
        found = [keys[key].open(ciphertext, place) if key in keys else None for key, ciphertext in parts]
        return [None if text is None else text.decode() for text in found]

    def unseal(self, payload: bytes, key: str, place: str) -> bytes | None:
        """Return a record's bytes as they came; ``None`` where the key was destroyed, or they were not sealed at this place."""
        found = self._opened([key]).get(key)
        return found.open(payload, place) if found else None

    def rotate(self) -> int:
        """Give each tenant's key and each subject's a new version, which is used from now on; older ones still open what they sealed.

        Tokens stay as they are: under a new key nothing would join with what is there.

        Returns:
            How many subjects' keys.
        """
        count = 0
        for row in self._control.run("SELECT tenant, wrap FROM tidemill.tenant_key"):
            count += self._rotate_tenant(row["tenant"], row["wrap"])
        return count

    def _rotate_tenant(self, tenant: str, wrap: bytes) -> int:
        new = _with_new_version(self._of_tenant(tenant, wrap))
        wrapped = proto_keyset_format.serialize_encrypted(new, self._root.primitive(aead.Aead), _bound(tenant))
        self._control.run("UPDATE tidemill.tenant_key SET wrap = %s WHERE tenant = %s", (wrapped, tenant))
        key, count, last = new.primitive(aead.Aead), 0, "00000000-0000-0000-0000-000000000000"
        while True:
            with self._control.transaction() as cursor:
                cursor.execute(
                    "SELECT id, payload, pseudonyms FROM tidemill.subject_key WHERE tenant = %s AND id > %s AND payload IS NOT NULL "
                    "ORDER BY id LIMIT %s FOR UPDATE",
                    (tenant, last, _ROTATED_AT_ONCE),
                )
                rows = cursor.fetchall()
                for row in rows:
                    name = f"subject {row['id']}".encode()
                    payload = _with_new_version(proto_keyset_format.parse_encrypted(row["payload"], key, name))
                    pseudonyms = proto_keyset_format.parse_encrypted(row["pseudonyms"], key, name)
                    cursor.execute(
                        "UPDATE tidemill.subject_key SET payload = %s, pseudonyms = %s WHERE id = %s",
                        (*(proto_keyset_format.serialize_encrypted(x, key, name) for x in (payload, pseudonyms)), row["id"]),
                    )
            if not rows:
                return count
            count, last = count + len(rows), str(rows[-1]["id"])

    def move(self, uri: str) -> None:
        """Wrap the workspace's keyset with another master key.

        Args:
            uri: As in :func:`~lakehouse.security.master.master_aead`; nothing makes a new file.

        Raises:
            KeyringError: The other one cannot be used.
        """
        other = master_aead(uri, self._next)  # a file is in place of the old one only when the keyset is wrapped with it
        try:
            wrapped = proto_keyset_format.serialize_encrypted(self._root, other, b"")
        except TinkError as error:
            raise KeyringError(f"The master key {uri} does not encrypt: {error}") from error
        self._control.run("UPDATE tidemill.workspace_key SET keyset = %s", (wrapped,))
        if not uri:
            self._next.replace(self._file)

    @property
    def _tokens(self) -> dict[str, Any]:
        """The key of each tenant's tokens."""
        rows = self._control.run("SELECT tenant, tokens FROM tidemill.tenant_key")
        return {row["tenant"]: self._of_tenant(row["tenant"], row["tokens"]).primitive(daead.DeterministicAead) for row in rows}

    def _of_tenant(self, tenant: str, keyset: bytes) -> KeysetHandle:
        """Unwrap one of a tenant's keysets."""
        return proto_keyset_format.parse_encrypted(keyset, self._root.primitive(aead.Aead), _bound(tenant))

    def _opened(self, ids: Iterable[str]) -> dict[str, _Opened]:
        """Return those of some keys that are not destroyed; what names no key is none."""
        rows = self._control.run(
            "SELECT id, tenant, payload, wrap FROM tidemill.subject_key JOIN tidemill.tenant_key USING (tenant) "
            "WHERE payload IS NOT NULL AND id = ANY(%s)",
            ([found for key in ids if (found := _uuid(key)) is not None],),
        )
        wraps: dict[str, Any] = {}
        opened = {}
        for row in rows:
            tenant, key = row["tenant"], str(row["id"])
            if tenant not in wraps:
                wraps[tenant] = self._of_tenant(tenant, row["wrap"]).primitive(aead.Aead)
            keyset = proto_keyset_format.parse_encrypted(row["payload"], wraps[tenant], f"subject {key}".encode())
            opened[key] = _Opened(tenant, keyset.primitive(aead.Aead))
        return opened


@dataclass(frozen=True)
class _Opened:
    """A subject's key that may be used."""

    tenant: str
    aead: Any

    def open(self, ciphertext: str | bytes, place: str) -> bytes | None:
        """Return what was sealed; ``None`` when nothing was, at this place and under this key."""
        try:
            sealed = base64.b64decode(ciphertext, validate=True) if isinstance(ciphertext, str) else ciphertext
            version = int.from_bytes(sealed[1:5], "big")  # where Tink writes it
            opened: bytes = self.aead.decrypt(sealed, f"{self.tenant}\0{place}\0{version}".encode())
        except (ValueError, TinkError):
            return None
        return opened


def _with_new_version(handle: KeysetHandle) -> KeysetHandle:
    """Return a keyset with one more key, which is used from now on. Tink's Python has no manager of keysets; the format is public."""
    keys = tink_pb2.Keyset.FromString(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
    known = {key.key_id for key in keys.key}
    while True:
        fresh = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        more = tink_pb2.Keyset.FromString(proto_keyset_format.serialize(fresh, secret_key_access.TOKEN))
        if more.primary_key_id not in known:
            break
    keys.key.extend(more.key)
    keys.primary_key_id = more.primary_key_id
    return proto_keyset_format.parse(keys.SerializeToString(), secret_key_access.TOKEN)


def _normal(subject: str) -> str:
    """Return a subject as keys are found by it: one form of each letter, no space around, lower case; as in ``Keyring.java``."""
    return unicodedata.normalize("NFKC", subject).strip().lower()


def _bound(tenant: str) -> bytes:
    """Return what a tenant's keysets are bound to, as in ``Keyring.java``."""
    return f"tenant {tenant}".encode()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
