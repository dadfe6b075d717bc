"""Gates in the stream, and validation of what landed.

Names are loaded on first use: Great Expectations takes seconds to import, and most commands never need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.quality.gate import Gate, compile_gate
    from lakehouse.quality.results import append_results, prune_results
    from lakehouse.quality.suites import Action, LoadedSuite, Rule, Suite, drop, fail, load, warn
    from lakehouse.quality.validation import ValidationResult, validate

__all__ = [
    "Action",
    "Gate",
    "LoadedSuite",
    "Rule",
    "Suite",
    "ValidationResult",
    "append_results",
    "compile_gate",
    "drop",
    "fail",
    "load",
    "prune_results",
    "validate",
    "warn",
]

_HOME = {"Gate": "gate", "compile_gate": "gate", "append_results": "results", "prune_results": "results"}
_HOME |= {"ValidationResult": "validation", "validate": "validation"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'suites')}"), name)
