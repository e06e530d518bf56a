"""What the rest of Tollway sees of the ledger."""

from msgspec import Struct

from tollway.wire.billing import EntryKind

RESOLUTIONS = ("settle", "release", "expire")
"""A hold meets exactly one of these."""


class Balance(Struct, frozen=True):
    """An account's credits."""

    account_id: str
    posted: int
    """Those that open holds set aside are among them."""
    held: int
    entries: int
    """How many the account has; `head` is the hash of the last one."""
    head: bytes

    @property
    def available(self) -> int:
        """What a new hold may take."""
        return self.posted - self.held


class Hold(Struct, frozen=True):
    """Credits set aside for one request, until it is settled, released or expired."""

    request_id: str
    account_id: str
    key_id: str | None
    credits: int
    spend_window: int | None = None
    """When the window of the key's spend limit began in which it counts, in seconds since the epoch; None = it has no limit."""


class Entry(Struct, frozen=True):
    """One line of the ledger. It is never changed; what was wrong is put right by another one.

    Amounts are credits: `posted` and `held` are what the entry changes, `loss` is what the upstream cost the operator beyond
    what was charged.
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
    """In seconds since the epoch."""
    key_id: str | None
    model: str | None
    reference: str | None
    """The inference id, or what a grant refers to."""
    price_version: str | None
    note: str | None
