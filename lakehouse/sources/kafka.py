"""Topics of a Kafka broker: make them, and ask where they begin and end.

kafka-python is the admin client; Spark reads, and :mod:`lakehouse.sources.replay` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from lakehouse.catalog import Kafka
from lakehouse.errors import SourceError
from lakehouse.settings import Settings

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Largest record of a topic that Tidemill makes: a record of 1 MiB and the reasons that a dead letter adds to it."""

_TIMEOUT_MS = 15_000
_OPTION_NAMES = {  # where kafka-python's name is not the option's with underscores
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.mechanisms": "sasl_mechanism",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
}


@contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """Connect to the broker for administration.

    Raises:
        SourceError: The broker does not answer, or refuses; a :class:`KafkaError` from inside the block becomes one too.
        SettingsError: No broker is known.
    """
    servers = settings.require("kafka")
    options = {_OPTION_NAMES.get(name, name.replace(".", "_")): value for name, value in settings.kafka.options.items()}
    client = None
    try:
        client = KafkaAdminClient(
            bootstrap_servers=servers.split(","),
            client_id="tidemill",
            request_timeout_ms=_TIMEOUT_MS,
            bootstrap_timeout_ms=_TIMEOUT_MS,
            **options,
        )
        yield client
    except KafkaError as error:
        raise SourceError(f"Kafka at {servers}: {error}; check that the broker runs (`tidemill status`).") from error
    finally:
        if client is not None:
            client.close()


def ensure_topic(settings: Settings, source: Kafka) -> None:
    """Make a topic when it is not there; one that is there is left as it is.

    Its records never expire by time: replayed records are stamped with the year in which they happened, and the default
    ``retention.ms`` would delete them at once.
    """
    wanted = {
        source.topic: {
            "num_partitions": source.partitions or settings.kafka.partitions,
            "configs": {
                "retention.ms": "-1",
                "retention.bytes": "-1",
                "max.message.bytes": str(MAX_MESSAGE_BYTES),
                "message.timestamp.type": "CreateTime",
            },
        }
    }
    with admin(settings) as client:
        if _describe(client, source.topic) is None:
            with suppress(TopicAlreadyExistsError):  # another process was faster
                client.create_topics(wanted)
            client.wait_for_topics([source.topic], timeout_ms=_TIMEOUT_MS)


def delete_topic(settings: Settings, topic: str) -> None:
    """Delete a topic and all that it holds; nothing happens when it is not there."""
    with admin(settings) as client:
        if _describe(client, topic) is not None:
            client.delete_topics([topic])


def topic_id(settings: Settings, topic: str) -> str | None:
    """Return the id that the broker gave a topic when it was made, or ``None`` when it is not there.

    A topic that was deleted and made again has the same name and another id.
    """
    with admin(settings) as client:
        found = _describe(client, topic)
    return None if found is None else str(found["topic_id"])


def begin_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Return the first offset that each partition still holds; empty when the topic is not there."""
    return _offsets(settings, topic, OffsetSpec.EARLIEST)


def end_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Return the offset that the next record of each partition will get; empty when the topic is not there."""
    return _offsets(settings, topic, OffsetSpec.LATEST)


def _offsets(settings: Settings, topic: str, spec: Any) -> dict[int, int]:
    with admin(settings) as client:
        found = _describe(client, topic)
        if found is None:
            return {}
        numbers = sorted(int(row["partition_index"]) for row in found["partitions"])
        answer = client.list_partition_offsets({TopicPartition(topic, number): spec for number in numbers})
    return {partition.partition: int(where.offset) for partition, where in sorted(answer.items())}


def _describe(client: KafkaAdminClient, topic: str) -> dict[str, Any] | None:
    (found,) = client.describe_topics([topic])
    if found["error_code"] == UnknownTopicOrPartitionError.errno:
        return None
    if found["error_code"]:
        raise for_code(found["error_code"])(topic)
    return dict(found)
