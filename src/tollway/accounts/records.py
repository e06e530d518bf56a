"""What the rest of Tollway sees of accounts and keys."""

from msgspec import Struct


class Account(Struct, frozen=True):
    """Owns keys."""

    id: str
    name: str
    created_at: float


class ApiKey(Struct, frozen=True):
    """An API key as it may be shown. Times are seconds since the epoch."""

    id: str
    account_id: str
    name: str
    prefix: str
    enabled: bool
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    """To the minute; the exact request is in the log."""
    deleted_at: float | None = None


class NewKey(Struct, frozen=True):
    """An API key at the one moment at which its secret is known. Its repr does not show it."""

    record: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.record!r})"


class Caller(Struct, frozen=True):
    """Who sends a request: the proof that a key was checked, as a value."""

    account_id: str
    account_name: str
    key_id: str
    key_prefix: str
    key_name: str
