"""Flight events as they came."""

from lakehouse.catalog import Kafka, bronze

flights = bronze("flights", source=Kafka("flights"), description="Departures, arrivals and cancellations, as they came.")
