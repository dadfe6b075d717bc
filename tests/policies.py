"""A policy that tests of several commands use."""

from __future__ import annotations


def analyst(width: int) -> str:
    """Return one that lets an analyst see their carriers' delays, in ranges of so many minutes, for operations."""
    return f"""
roles:
  analyst:
    - tables: [silver.flights]
      columns: [carrier, delay]
      purposes: [operations]
      rows: [{{column: carrier, in: {{claim: carriers}}}}]
      masks: {{delay: {{range: {width}}}}}
"""
