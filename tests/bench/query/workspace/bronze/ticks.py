"""Ticks, as a feed would bring them."""

from lakehouse.catalog import Kafka, bronze

ticks = bronze("ticks", source=Kafka("ticks", partitions=2))
