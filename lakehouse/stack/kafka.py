"""Apache Kafka: one KRaft node, from the locked jars."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from base64 import urlsafe_b64encode
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lakehouse.clients import librdkafka
from lakehouse.errors import StackError
from lakehouse.jvm.jars import fetch
from lakehouse.settings import Part
from lakehouse.stack import java
from lakehouse.stack.ports import LOOPBACK, answers
from lakehouse.stack.server import Server
from lakehouse.stack.state import write_private

_FOREVER = 2**63 - 1
_USER = "tidemill"
_LARGEST_MESSAGE = 4 * 1024 * 1024

_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server
logger.server.level = INFO
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = ERROR
"""


class Kafka(Server):
    """The broker. Records are kept by no clock of ours: they carry times of the feed, which may be years ago."""

    part: ClassVar[Part] = "kafka"
    port_names = ("broker", "controller")
    secret_names = ("password",)
    process_names = ("java",)

    def prepare(self) -> None:
        """Write the configuration, and format the log folder once."""
        write_private(self._properties, "".join(f"{key}={value}\n" for key, value in self._options().items()))
        self._logging.write_text(_LOGGING)
        if not self._meta.exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            done = subprocess.run(
                [*self._java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._properties)],
                env={**os.environ, **self.env()},
                cwd=self.site.folder,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise StackError(f"Kafka's log folder could not be formatted: {(done.stderr or done.stdout).strip()[-800:]}")

    def argv(self) -> list[str]:
        """Return the broker's command line."""
        return [*self._java, "kafka.Kafka", str(self._properties)]

    def env(self) -> dict[str, str]:
        """Return the class path."""
        return {"CLASSPATH": os.pathsep.join(str(jar) for jar in fetch("kafka"))}

    def probe(self) -> None:
        """Ask for the cluster's id, and compare it with the one on disk."""
        if not answers(self.port):  # keeps librdkafka from reconnecting, and from logging that
            raise ConnectionError(f"nobody listens on port {self.port}")
        from confluent_kafka.admin import AdminClient

        client = AdminClient({**librdkafka(self.known), "log_level": 0})
        found = client.describe_cluster(request_timeout=5).result(timeout=6)
        if found.cluster_id != (mine := self._cluster_id()):
            raise ConnectionError(f"port {self.port} belongs to cluster {found.cluster_id}, not to {mine}")
        if not found.nodes:
            raise ConnectionError("the broker has not registered yet")

    def settings(self) -> dict[str, Any]:
        """Return the broker's address, and who signs in when it is secure."""
        address = {"bootstrap_servers": f"{LOOPBACK}:{self.port}"}
        if self.site.authority is None:
            return address
        return {**address, "username": _USER, "password": self.site.secrets["password"], "ca": str(self.site.authority.ca)}

    @cached_property
    def _java(self) -> list[str]:
        flags = ["-Xms128m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
        return [str(java.require()), *flags, f"-Dlog4j2.configurationFile={self._logging}"]

    def _options(self) -> dict[str, str | int]:
        broker, controller = (f"{LOOPBACK}:{self.site.ports[name]}" for name in self.port_names)
        client = "CLIENT" if self.site.authority else "PLAINTEXT"
        return {
            **self._security(),
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": client,
            "listeners": f"{client}://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"{client}://{broker}",
            "log.dirs": str(self.site.folder / "log"),
            "auto.create.topics.enable": "false",
            # One node: one copy, and few internal partitions, for each is a folder with open files.
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            # After a kill, the node waits until the session of its former self is over: 9 seconds by default.
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 1000,
            # Record times follow the feed clock: no record expires by time, none is refused for its time, and a year of
            # records in a minute does not make a segment for each of its weeks.
            "log.retention.ms": -1,
            "log.retention.bytes": -1,
            "log.message.timestamp.before.max.ms": _FOREVER,
            "log.message.timestamp.after.max.ms": _FOREVER,
            "log.roll.ms": _FOREVER,
            "message.max.bytes": _LARGEST_MESSAGE,
            "replica.fetch.max.bytes": _LARGEST_MESSAGE,
            # The default takes 128 MiB, a quarter of this heap, to compact the few offsets there are.
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        }

    def _security(self) -> dict[str, str]:
        """Return who may connect: anybody, or who signs in over TLS; to the controller, who has the server's own certificate."""
        if self.site.authority is None:
            return {"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"}
        password, module = self.site.secrets["password"], "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            "listener.security.protocol.map": "CONTROLLER:SSL,CLIENT:SASL_SSL",
            "listener.name.controller.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": (
                f'{module} required username="{_USER}" password="{password}" user_{_USER}="{password}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.site.authority.certificate),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.site.authority.ca),
        }

    def _cluster_id(self) -> str | None:
        found = re.search(r"^cluster\.id=(.+)$", self._meta.read_text(), re.MULTILINE)
        return found[1].strip() if found else None

    @property
    def _properties(self) -> Path:
        return self.site.folder / "server.properties"

    @property
    def _logging(self) -> Path:
        return self.site.folder / "log4j2.properties"

    @property
    def _meta(self) -> Path:
        return self.site.folder / "log" / "meta.properties"
