"""Shop events as they came."""

from lakehouse.catalog import Kafka, bronze

events = bronze("events", source=Kafka("events"), description="Shop events, as they came.")
