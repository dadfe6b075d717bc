"""Where a workspace's push service is; light to import, for those who only connect to it."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.serving.endpoint import WrittenDown
from lakehouse.serving.push.access import Access

OLDEST = "oldest"
"""The position before all rows that the service keeps."""


@dataclass(frozen=True)
class Endpoint(WrittenDown):
    """Where a workspace's push service is, and what lets a client in.

    Attributes:
        url: ``ws://host:port``, or ``wss://`` with TLS; a feed is at ``/live/<feed>``.
        token: The secret.
        ca: PEM file of the authority of its certificate; ``None``: one that the system knows, or no TLS.
    """

    FILE = "push.json"
    UNKNOWN = "No push service is known: run `tidemill run --lane push`."

    url: str
    token: str
    ca: str | None = None

    @property
    def ticket(self) -> str:
        """What a page may use in place of the token, for a minute."""
        return Access(self.token).ticket()
