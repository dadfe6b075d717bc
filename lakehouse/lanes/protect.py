"""Personal data is protected as it comes in: payloads in bronze and in dead letters, columns in silver and in live tables.

The ciphers are Tink's, as functions of the JVM, so both lanes use them on every record. See ``docs/personal-data.md``.
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DataType, StringType, StructField, StructType

from lakehouse.catalog import TableSpec
from lakehouse.clients import postgres_jdbc
from lakehouse.control import Control
from lakehouse.deadletter.envelope import RECORD
from lakehouse.errors import DeclarationError
from lakehouse.quality.parse import wire_schema
from lakehouse.security.audit import Audit
from lakehouse.security.keyring import QUARANTINE, Keyring
from lakehouse.security.pii import Personal, payload_place, place
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_FUNCTIONS: dict[str, DataType] = {
    "SubjectKey": StringType(),
    "Seal": BinaryType(),
    "Unseal": BinaryType(),
    "Token": StringType(),
}


class Protector:
    """Opens the keyring in the driver's JVM when the first table needs it."""

    def __init__(self, workspace: Workspace, settings: Settings, spark: SparkSession, control: Control) -> None:
        """Remember where keys are; none is used yet."""
        self._workspace = workspace
        self._settings = settings
        self._spark = spark
        self._control = control
        self._guard = threading.Lock()
        self._keyring: Keyring | None = None

    def of(self, spec: TableSpec) -> Protection | None:
        """Return how a feed's personal data is protected; ``None`` when it has none.

        Args:
            spec: The feed's ingest table.

        Raises:
            AuditError: It cannot be written down that keys are used.
            KeyringError: It cannot be.
        """
        if spec.personal is None:
            return None
        with self._guard:
            self._keyring = self._keyring or self._opened()
        return Protection(spec, spec.personal)

    def expire(self) -> None:
        """Destroy the keys of the quarantine whose time is over, where a feed has needed keys."""
        if self._keyring is not None:
            self._keyring.expire_quarantine()

    def _opened(self) -> Keyring:
        keyring = Keyring(self._workspace, self._settings, self._control)
        with closing(Audit(self._control, Objects(self._settings))) as audit:
            audit.record({"kind": "keys", "what": "opened", "by": self._spark.sparkContext.appName})
        keyring.expire_quarantine()
        jvm: Any = self._spark._jvm
        jvm.io.tidemill.Keyring.open(*postgres_jdbc(self._settings), keyring.for_jvm())
        for name, kind in _FUNCTIONS.items():
            self._spark.udf.registerJavaFunction(_name(name), f"io.tidemill.{name}", kind)
        return keyring


class Protection:
    """One feed's personal data."""

    def __init__(self, spec: TableSpec, personal: Personal) -> None:
        """Take what is declared; see :meth:`Protector.of`."""
        self._spec = spec
        self._personal = personal

    def check(self, own: StructType) -> None:
        """Look whether the declaration fits the feed.

        Args:
            own: Columns of the ingest table as its function gives them.

        Raises:
            DeclarationError: A field or column is not there, or a field is no text.
        """
        assert self._spec.parse is not None
        fields = {x.name: x.dataType for x in wire_schema(self._spec.parse).fields}
        for name in (self._personal.subject, self._personal.tenant):
            if not isinstance(fields.get(name), StringType):
                raise DeclarationError(
                    f"{self._spec.full_name}: {name}, which says whose the data is, must be a STRING of the feed."
                )
        if absent := [name for name in self._personal.columns if name not in own.names]:
            raise DeclarationError(f"{self._spec.full_name} does not select {absent}, which it declares as personal data.")

    def landed(self, own: StructType) -> StructType:
        """Return the columns as they land: a text in place of each that is protected."""
        kept = {name: StringType() for name in self._personal.columns}
        return StructType([StructField(x.name, kept.get(x.name, x.dataType), x.nullable) for x in own.fields])

    def seal_records(self, records: DataFrame) -> DataFrame:
        """Seal what came, under the key of the person whose data it is, or of the quarantine when nobody can say whose.

        Args:
            records: Columns of :data:`~lakehouse.deadletter.envelope.RECORD`.
        """
        sealed = self._sealed({name: F.col(name) for name in RECORD.names})
        return records.select(*[sealed[name].alias(name) for name in RECORD.names])

    def plain(self, value: Column, key_id: Column) -> Column:
        """Return a record's bytes as they came; null when the key was destroyed."""
        return _call("Unseal", value, key_id, F.lit(payload_place(self._spec.feed, "value")))

    def whose(self, fields: dict[str, Column]) -> list[Column]:
        """Return tenant and subject of a parsed record; null where they are missing or blank.

        Args:
            fields: Its declared fields.
        """
        named = {"tenant": fields[self._personal.tenant], "subject": fields[self._personal.subject]}
        return [F.nullif(F.trim(field), F.lit("")).alias(name) for name, field in named.items()]

    def protect(self, judged: DataFrame) -> DataFrame:
        """Put tokens and ciphertexts in place of the personal columns of good rows; in those of others nothing, for nobody reads them.

        Args:
            judged: What :meth:`~lakehouse.lanes.judge.Judge.judge` gave. ``_raw`` is sealed too, if it came in the clear.
        """
        good = F.col("_reasons").isNull() & F.col("_failures").isNull()
        values = {name: self.token(name, "_tenant", "_subject") for name in self._personal.tokens}
        values |= {name: self.sealed(name, "_tenant", "_subject") for name in self._personal.sealed}
        raw = F.col("_raw")
        sealed = self._sealed({name: raw[name] for name in RECORD.names})
        clear = raw["payload_key_id"].isNull() & raw["topic_id"].isNotNull()
        whole = F.struct(*[sealed[name].alias(name) for name in RECORD.names])
        protected = {name: F.when(good, value) for name, value in values.items()}
        return judged.withColumns({**protected, "_raw": F.when(clear, whole).otherwise(raw)})

    def key_of(self, tenant: str, subject: str) -> Column:
        """Return the id of a person's key, from columns that name tenant and person."""
        return _call("SubjectKey", F.col(tenant), F.col(subject))

    def token(self, name: str, tenant: str, subject: str) -> Column:
        """Return what stands in place of a column's value that shall be joined."""
        return _call("Token", F.col(f"`{name}`").cast("string"), F.col(tenant), F.col(subject), F.lit(name))

    def sealed(self, name: str, tenant: str, subject: str) -> Column:
        """Return what stands in place of a column's value that may be revealed."""
        text = F.col(f"`{name}`").cast("string").cast("binary")
        ciphertext = _call("Seal", text, F.col(tenant), F.col(subject), F.lit(place(self._spec.full_name, name)))
        return F.concat(self.key_of(tenant, subject), F.lit("."), F.base64(ciphertext))

    def _sealed(self, record: dict[str, Column]) -> dict[str, Column]:
        """Return the columns of a record whose payload is sealed."""
        text = record["value"].cast("string")
        named = [
            F.nullif(F.trim(F.get_json_object(text, f"$['{x}']")), F.lit(""))
            for x in (self._personal.tenant, self._personal.subject)
        ]
        known = named[0].isNotNull() & named[1].isNotNull()
        day = F.concat(F.lit("quarantine "), F.date_format(F.current_timestamp(), "yyyy-MM-dd"))
        tenant = F.when(known, named[0]).otherwise(F.lit(QUARANTINE))
        subject = F.when(known, named[1]).otherwise(day)

        def seal(value: Column, part: str) -> Column:
            return _call("Seal", value, tenant, subject, F.lit(payload_place(self._spec.feed, part)))

        headers = F.transform(
            record["headers"], lambda x: F.struct(x["key"].alias("key"), seal(x["value"], "header").alias("value"))
        )
        return {
            **record,
            "value": seal(record["value"], "value"),
            "key": seal(record["key"], "key"),
            "headers": headers,
            "payload_key_id": _call("SubjectKey", tenant, subject),
        }


def _name(function: str) -> str:
    return f"tidemill_{function.lower()}"


def _call(function: str, *values: Column) -> Column:
    return F.call_function(_name(function), *values)
