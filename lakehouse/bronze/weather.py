"""Weather observations as they came."""

from lakehouse.catalog import Kafka, bronze

weather = bronze("weather", source=Kafka("weather"), description="Hourly weather at the three New York airports, as it came.")
