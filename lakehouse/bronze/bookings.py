"""Bookings as they came, sealed."""

from lakehouse.catalog import Kafka, bronze

bookings = bronze("bookings", source=Kafka("bookings"), description="Bookings of seats, sealed under each passenger's own key.")
