"""What the rest of Tollway sees of the ledger."""

from msgspec import Struct

from tollway.wire.billing import EntryKind

RESOLUTIONS = ("settle", "release", "expire")
"""A hold meets exactly one of these."""


class Balance(Struct, frozen=True):
    """An account's credits. `available` is what a new hold may take."""

    account_id: str
    posted: int
    held: int
    entries: int = 0
    head: bytes = b""

    @property
    def available(self) -> int:
        return self.posted - self.held


class Hold(Struct, frozen=True):
    """Credits set aside for one request, until it is settled, released or expired."""

    request_id: str
    account_id: str
    key_id: str | None
    credits: int
    spend_window: int | None = None


class Entry(Struct, frozen=True):
    """One line of the ledger. It is never changed; what was wrong is put right by another one.

    `posted` and `held` are what the entry changes; `loss` is what the upstream cost the operator beyond what was charged.
    """

    account_id: str
    number: int
    """1, 2, 3 ... within the account."""
    kind: EntryKind
    request_id: str
    posted: int
    held: int
    loss: int
    at: float
    key_id: str | None
    model: str | None
    reference: str | None
    """The inference id, or what a grant refers to."""
    price_version: str | None
    note: str | None
