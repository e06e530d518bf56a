"""The only code that writes the ledger: the accounts' balances and entries within one transaction.

Every change is an entry and a change of the account's balance row, in the same transaction. Three things keep it right, on both
databases and with any number of processes:

- an account's balance row is locked before it is read, so whoever decides on a hold sees every earlier one;
- the row is written back only if it still has the number of entries that was read, and the database itself refuses a balance
  below what is held (CHECK) and a second entry of a kind for one request (UNIQUE);
- each entry holds the hash of its content and of the account's entry before it, so a changed, lost or added one is found.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from tollway import clock
from tollway.ledger.records import Balance, Entry, Hold
from tollway.storage.prepared import Prepared, PreparedIn, insert_into
from tollway.storage.tables import balances, holds, ledger_entries
from tollway.storage.upsert import insert_or_ignore
from tollway.wire.billing import EntryKind

FIRST_HASH = bytes(32)
"""What stands before an account's first entry."""

_encode = msgspec.msgpack.Encoder().encode
_SHA256 = hashlib.sha256()


class LedgerFault(Exception):
    """The books would be wrong: a fault of ours, never of a caller. The transaction must be rolled back."""


def chained_hash(previous: bytes, fields: tuple[Any, ...]) -> bytes:
    """SHA-256 over the hash before and every field of the entry, in the order of Entry, as MessagePack."""
    content = _SHA256.copy()  # a new one would cost several times as much with OpenSSL 3
    content.update(previous + _encode(fields))
    return content.digest()


class Books:
    """The ledger within one transaction. Lock the accounts first, flush last.

    For the next transaction of the connection they can be used again, without reading the balances again, if that one was
    committed and nobody else has written since.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pages: dict[str, _Page] = {}
        self._touched: set[str] = set()
        self._entries: list[tuple[Any, ...]] = []
        self._held: list[tuple[Any, ...]] = []
        self._resolved: list[str] = []

    def lock(self, account_ids: Iterable[str]) -> None:
        """Reads the balances and keeps others from changing them until the transaction ends."""
        unknown = set(account_ids) - self._pages.keys()
        if not unknown:
            return
        wanted = sorted(unknown)  # in one order everywhere, so that nobody waits in a circle
        rows = {row.account_id: row for row in _LOCK(self._connection, wanted).rows}
        for account_id in wanted:
            if account_id not in rows:
                self._open(account_id)
                rows[account_id] = _LOCK(self._connection, [account_id]).rows[0]
            self._pages[account_id] = _Page(rows[account_id])

    def balance(self, account_id: str) -> Balance:
        """As it is after what was entered so far. The account must be locked."""
        page = self._pages[account_id]
        return Balance(account_id, page.posted, page.held, page.number, page.head)

    def has(self, account_id: str) -> bool:
        """Whether the account is locked."""
        return account_id in self._pages

    def hold(self, hold: Hold, node_id: str, *, model: str, price_version: str) -> None:
        """Sets credits aside. The caller has looked at the balance."""
        account_id, request_id, key_id, amount, now = hold.account_id, hold.request_id, hold.key_id, hold.credits, clock.now()
        self._enter(account_id, "hold", request_id, (0, amount, 0), now, key_id, model, None, price_version, None)
        self._held.append((request_id, account_id, key_id, node_id, amount, now, hold.spend_window))

    def resolve(
        self,
        kind: EntryKind,
        hold: Hold,
        *,
        charged: int = 0,
        loss: int = 0,
        model: str | None = None,
        reference: str | None = None,
        price_version: str | None = None,
        note: str | None = None,
    ) -> None:
        """Ends a hold that is open: `settle` charges up to what was held, `release` and `expire` charge nothing."""
        if not 0 <= charged <= hold.credits or (charged and kind != "settle"):
            raise LedgerFault(f"{kind} of {charged} on a hold of {hold.credits}")
        amounts, details = (-charged, -hold.credits, loss), (hold.key_id, model, reference, price_version, note)
        self._enter(hold.account_id, kind, hold.request_id, amounts, clock.now(), *details)
        self._resolved.append(hold.request_id)

    def enter(
        self,
        kind: EntryKind,
        account_id: str,
        request_id: str,
        *,
        posted: int = 0,
        key_id: str | None = None,
        model: str | None = None,
        reference: str | None = None,
        price_version: str | None = None,
        note: str | None = None,
    ) -> Entry:
        """Adds an entry that no hold stands behind. Raises LedgerFault when it would overdraw the account or belongs to no
        request.
        """
        details = (key_id, model, reference, price_version, note)
        return Entry(*self._enter(account_id, kind, request_id, (posted, 0, 0), clock.now(), *details))

    def _enter(
        self, account_id: str, kind: EntryKind, request_id: str, amounts: tuple[int, int, int], *rest: Any
    ) -> tuple[Any, ...]:
        """The fields of the new entry, in the order of Entry. `amounts`: posted, held and lost; `rest`: what follows."""
        page, (posted, held, _) = self._pages[account_id], amounts
        page.posted += posted
        page.held += held
        if page.held < 0 or page.posted < page.held or not request_id:
            raise LedgerFault(f"{kind} for request {request_id!r} would leave {page.posted} posted and {page.held} held")
        page.number += 1
        self._touched.add(account_id)
        fields = (account_id, page.number, kind, request_id, *amounts, *rest)
        page.head = chained_hash(page.head, fields)
        self._entries.append((*fields, page.head))
        return fields

    def flush(self) -> None:
        """Writes everything that was entered. Raises what the database refuses."""
        connection = self._connection
        if self._entries:
            _INSERT_ENTRY(connection, self._entries)
        for account_id in sorted(self._touched):
            page = self._pages[account_id]
            change = {"posted": page.posted, "held": page.held, "entries": page.number, "head": page.head}
            where = {"account": account_id, "entries_read": page.number_read}
            if _WRITE_BACK(connection, change | where).rowcount != 1:
                raise LedgerFault(f"the balance of {account_id} changed under its lock")
            page.number_read = page.number
        if self._held:
            _INSERT_HOLD(connection, self._held)
        if self._resolved:
            gone = _DELETE_HOLDS(connection, self._resolved).rowcount
            if gone != len(self._resolved):
                raise LedgerFault(f"{len(self._resolved)} holds resolved, but {gone} were open")
        self._entries, self._held, self._resolved, self._touched = [], [], [], set()

    def _open(self, account_id: str) -> None:
        """An account's empty balance; of several processes that come at once, one makes it."""
        row = {"account_id": account_id, "posted": 0, "held": 0, "entries": 0, "head": FIRST_HASH}
        insert_or_ignore(self._connection, balances, [row])


_LOCK = PreparedIn(
    lambda ids: sa.select(balances).where(balances.c.account_id.in_(ids)).order_by(balances.c.account_id).with_for_update()
)
_INSERT_ENTRY = insert_into(ledger_entries, (*Entry.__struct_fields__, "hash"))
_INSERT_HOLD = insert_into(holds, ("request_id", "account_id", "key_id", "node_id", "credits", "at", "spend_window"))
_DELETE_HOLDS = PreparedIn(lambda ids: sa.delete(holds).where(holds.c.request_id.in_(ids)))
_WRITE_BACK = Prepared(
    sa.update(balances)
    .values({name: sa.bindparam(name) for name in ("posted", "held", "entries", "head")})
    .where(balances.c.account_id == sa.bindparam("account"), balances.c.entries == sa.bindparam("entries_read"))
)


class _Page:
    """One account's balance while it is worked on."""

    __slots__ = ("head", "held", "number", "number_read", "posted")

    def __init__(self, row: Any) -> None:
        self.posted: int = row.posted
        self.held: int = row.held
        self.number: int = row.entries
        self.number_read: int = row.entries
        self.head: bytes = bytes(row.head)
