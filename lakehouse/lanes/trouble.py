"""What went wrong with a query: is a server away, so that it pauses, or must somebody do something, so that it stops?"""

from __future__ import annotations

import re

from py4j.protocol import Py4JJavaError

from lakehouse.errors import SourceError, TidemillError

_LONGEST_PAUSE = 30.0
_AWAY = re.compile(
    r"Connect(ion)? ?(Error|refused|reset|closed|Exception|timed out|timeout)|Read ?timeout|Server ?disconnected|UnknownHost|"
    r"SocketTimeout|SdkClientException|No space left|Status ?(Code: )?5\d\d|Internal ?(Server )?Error|Service Unavailable|"
    r"TimeoutException|NoHttpResponse|DisconnectException|not available|AWSBadRequest|AWSServiceIOException|AWSClientIOException|"
    r"Unable to execute HTTP|SLOW_DOWN|reduce your request rate|NetworkException|broker may not be available|OperationalError|"
    r"SourceError|keyring cannot be read",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"No AWS Credentials|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|SASL|authentication failed", re.I
)
LOST = re.compile(
    r"KAFKA_DATA_LOSS|data may have been lost|offset.*(out of range|was changed from)|UnknownTopicOrPartition", re.IGNORECASE
)
SCHEMA_CHANGED = re.compile(r"DELTA_SCHEMA_CHANGED|Detected schema change", re.IGNORECASE)


def passes_by_itself(error: BaseException, text: str) -> bool:
    """Say whether a query may simply be tried again: a server is away or out of room, or a table has a new column.

    Args:
        error: What went wrong. An error of ours says what somebody must do, unless it is about a source that does not answer.
        text: What :func:`told` gave for what Spark or a server raised.
    """
    ours = isinstance(error, TidemillError) and not isinstance(error, SourceError)
    return not ours and not _REFUSED.search(text) and bool(_AWAY.search(text) or SCHEMA_CHANGED.search(text))


def pause(times: int) -> float:
    """Return how many seconds to wait before the next try, after so many failures in a row."""
    return float(min(_LONGEST_PAUSE, 0.5 * 2**times))


def told(error: BaseException) -> str:
    """Return all that an error says: PySpark's say nothing of what the object store or the broker had answered."""
    trace = str(getattr(getattr(error, "_cause", None), "_stackTrace", ""))
    said = [line for line in trace.splitlines() if not line.lstrip().startswith("at ")]  # not the names of methods
    return "\n".join([f"{type(error).__name__} {error}", *said])


def first_line(error: BaseException) -> str:
    """Return one sentence about an error, for people."""
    if isinstance(error, TidemillError):
        return str(error)
    lines = [line.removeprefix(": ") for line in str(error).splitlines() if line.strip()]
    if isinstance(error, Py4JJavaError):
        lines = lines[1:]  # the first one names an object of py4j, the next one says what went wrong
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:500]
