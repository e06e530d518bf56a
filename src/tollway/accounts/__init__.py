"""Accounts, their API keys, and who a request comes from."""

from tollway.accounts.keys import load_secret, secret_path
from tollway.accounts.records import Account, ApiKey, Caller, NewKey
from tollway.accounts.service import Accounts

__all__ = ["Account", "Accounts", "ApiKey", "Caller", "NewKey", "load_secret", "secret_path"]
