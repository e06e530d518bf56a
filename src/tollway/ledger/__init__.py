"""Hold, settle, release, expire, grant: money that is exact under concurrency and crashes. Knows no tokens."""

from tollway.ledger.books import Books, LedgerFault
from tollway.ledger.ledger import Ledger, checked_note, transaction_type
from tollway.ledger.records import RESOLUTIONS, Balance, Entry, Hold

__all__ = ["RESOLUTIONS", "Balance", "Books", "Entry", "Hold", "Ledger", "LedgerFault", "checked_note", "transaction_type"]
