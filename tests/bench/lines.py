"""Lines of JSON, in which the processes of a benchmark speak; light to import, for those whose memory is measured."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(event: str, **content: Any) -> None:
    """Tell the parent something."""
    print(json.dumps({"event": event, **content}), flush=True)


def hear() -> Any:
    """Wait for a line of the parent.

    Raises:
        EOFError: It says nothing any more.
    """
    if not (line := sys.stdin.readline()):
        raise EOFError
    return json.loads(line)
