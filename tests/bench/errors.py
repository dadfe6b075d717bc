"""The one error of benchmarks."""

from lakehouse.errors import TidemillError


class BenchError(TidemillError):
    """A contender failed, or its tables are wrong, so there is no figure."""
