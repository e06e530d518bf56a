"""What the rest of Tollway sees of accounts and keys. Times are seconds since the epoch, money is credits."""

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tollway import clock
from tollway.wire.keys import KeyKind, Scope, SpendWindow
from tollway.wire.usage import Origin


class Limits(Struct, frozen=True):
    """How much at a time; None = no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency_max: int | None = None


class Account(Struct, frozen=True):
    """Owns keys and a balance."""

    id: str
    name: str
    created_at: float
    updated_at: float
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency_max: int | None
    low_balance_credits: int
    """A balance below it is called low."""

    @property
    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrency_max)

    def is_low(self, balance_credits: int) -> bool:
        return balance_credits < self.low_balance_credits


class AccountChanges(Struct, frozen=True, kw_only=True):
    """What to change of an account; UNSET = leave as it is, None = no limit."""

    name: str | UnsetType = UNSET
    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    concurrency_max: int | UnsetType | None = UNSET
    low_balance_credits: int | UnsetType = UNSET


class ApiKey(Struct, frozen=True):
    """An API key as it may be shown."""

    id: str
    account_id: str
    kind: KeyKind
    name: str
    prefix: str
    enabled: bool
    scopes: tuple[Scope, ...] | None
    """What it may be used for; None = everything."""
    models: tuple[str, ...] | None
    """Ids or aliases of the models that it may ask; None = all."""
    spend_limit_credits: int | None
    """The most that it may spend in one `spend_window`; both are None, or neither."""
    spend_window: SpendWindow | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency_max: int | None
    created_at: float
    updated_at: float
    expires_at: float | None
    last_used_at: float | None
    """To the minute; the exact request is in the log."""
    deleted_at: float | None
    previous_prefix: str | None
    """Of the secret that the last rotation replaced, which works until `previous_expires_at`; None = never rotated."""
    previous_expires_at: float | None

    @property
    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrency_max)

    @property
    def state(self) -> Literal["enabled", "disabled", "expired", "deleted"]:
        """At this moment; of several reasons to refuse it the one that its callers are told."""
        if self.deleted_at is not None:
            return "deleted"
        if not self.enabled:
            return "disabled"
        return "expired" if self.expires_at is not None and self.expires_at <= clock.now() else "enabled"


class KeyChanges(Struct, frozen=True, kw_only=True):
    """What to make a key with, or to change of it; UNSET = the default, or as it is. None = no limit, everything, never."""

    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    expires_at: float | UnsetType | None = UNSET
    scopes: tuple[str, ...] | UnsetType | None = UNSET
    models: tuple[str, ...] | UnsetType | None = UNSET
    spend_limit_credits: int | UnsetType | None = UNSET
    spend_window: SpendWindow | UnsetType | None = UNSET
    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    concurrency_max: int | UnsetType | None = UNSET


class NewKey(Struct, frozen=True):
    """An API key at the one moment at which its secret is known. Its repr does not show it."""

    record: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.record!r})"


class Caller(Struct, frozen=True):
    """Who sends a request: the proof that a key was checked, as a value. What it says is less than a second old."""

    account_id: str
    account_name: str
    key_id: str
    """Stays when the key is rotated; count by it. Empty for the playground, which sends a session instead."""
    key_prefix: str
    """Of the secret that was used."""
    key_name: str
    management: bool = False
    scopes: frozenset[str] | None = None
    models: frozenset[str] | None = None
    spend_limit_credits: int | None = None
    spend_window: SpendWindow | None = None
    limits: Limits = Limits()
    """The key's own; the account's hold besides."""
    account_limits: Limits = Limits()
    low_balance_credits: int = 10_000
    """A balance of the account below it is called low."""
    origin: Origin = "api"


def from_json_text(text: str | None) -> tuple[str, ...] | None:
    """What a column holds that stores a list as JSON; null = all."""
    return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])
