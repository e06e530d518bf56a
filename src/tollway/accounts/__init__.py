"""Accounts, their API keys, and who a request comes from."""

from tollway.accounts.keys import load_secret, secret_path
from tollway.accounts.permits import require
from tollway.accounts.records import (
    Account,
    AccountChanges,
    ApiKey,
    Caller,
    KeyChanges,
    Limits,
    NewKey,
)
from tollway.accounts.secret_check import (
    SecretError,
    adopt_secret,
    check_secret,
    check_secret_in,
    fits,
    knows_secret,
    own_secret,
    secret_fits,
)
from tollway.accounts.service import Accounts, new_account
from tollway.wire.keys import KeyKind, Scope, SpendWindow

__all__ = [
    "Account",
    "AccountChanges",
    "Accounts",
    "ApiKey",
    "Caller",
    "KeyChanges",
    "KeyKind",
    "Limits",
    "NewKey",
    "Scope",
    "SecretError",
    "SpendWindow",
    "adopt_secret",
    "check_secret",
    "check_secret_in",
    "fits",
    "knows_secret",
    "load_secret",
    "new_account",
    "own_secret",
    "require",
    "secret_fits",
    "secret_path",
]
