"""Sales, as a feed would bring them."""

from lakehouse.catalog import Kafka, bronze

sales = bronze("sales", source=Kafka("sales"))
