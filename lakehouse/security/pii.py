"""What a feed says of the personal data in it: whose it is, and how each column is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lakehouse.errors import DeclarationError


@dataclass(frozen=True, init=False)
class Personal:
    """Personal data of a feed.

    Attributes:
        subject: Text field of the record that says whose data it is, such as an e-mail address. Upper and lower case are one.
        tenant: Text field that says which tenant keeps the data; keys are apart by tenant.
        tokens: Columns of the silver table that hold a token in place of the value: equal values of one person stay equal, in all
            tables of a tenant, so they can be joined and counted; nobody gets the value back.
        sealed: Columns that are encrypted under the person's own key; roles to whom the policy reveals them see the value.
    """

    subject: str
    tenant: str
    tokens: tuple[str, ...]
    sealed: tuple[str, ...]

    def __init__(self, subject: str, *, tenant: str, tokens: Sequence[str] = (), sealed: Sequence[str] = ()) -> None:
        object.__setattr__(self, "subject", subject)
        object.__setattr__(self, "tenant", tenant)
        object.__setattr__(self, "tokens", tuple(tokens))
        object.__setattr__(self, "sealed", tuple(sealed))
        if both := set(tokens) & set(sealed):
            raise DeclarationError(f"{sorted(both)} cannot be both a token and sealed.")

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that hold something in place of the value, each a STRING."""
        return (*self.tokens, *self.sealed)


def place(table: str, column: str) -> str:
    """Return what a ciphertext is bound to beside its tenant and the version of its key: ``layer.table.column``."""
    return f"{table}.{column}"


def payload_place(feed: str, part: str) -> str:
    """Return the place of a record's ``value``, ``key`` or ``header``, in bronze and wherever it is carried on to."""
    return place(f"bronze.{feed}", part)


def sealed_by(value: str) -> tuple[str, str]:
    """Take a sealed column's value apart.

    Returns:
        The id of the subject's key, and the ciphertext in base64; empty texts when it is none.
    """
    key, _, ciphertext = value.partition(".")
    return (key, ciphertext) if ciphertext else ("", "")
