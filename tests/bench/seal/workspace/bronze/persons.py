"""Persons as they came."""

from lakehouse.catalog import Kafka, bronze

persons = bronze("persons", source=Kafka("persons"))
