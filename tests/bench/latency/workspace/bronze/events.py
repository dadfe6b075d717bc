"""Shop events as they came."""

from lakehouse.catalog import Kafka, bronze

events = bronze("events", source=Kafka("events", partitions=2), description="Shop events, as they came.")
