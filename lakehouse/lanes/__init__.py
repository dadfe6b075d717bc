"""The only places that start queries."""
