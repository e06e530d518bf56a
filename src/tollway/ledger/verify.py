"""Recomputing the whole ledger from its entries, and naming the first row that is wrong.

Of each account every entry is read in order: numbers without a gap, the hash chain, each hold resolved at most once and by no
more than was held, never overdrawn; and at the end the balance row, the open holds, the usage sums and the log must say what
the entries say.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct, structs
from sqlalchemy import Connection

from tollway.ledger.books import FIRST_HASH, chained_hash
from tollway.ledger.records import RESOLUTIONS, Entry
from tollway.storage.tables import (
    ALL_KEYS,
    USAGE_SPANS,
    balances,
    holds,
    key_spend,
    ledger_entries,
    requests,
    unfiled_requests,
    usage_buckets,
)

_PAGE_ROWS = 10_000


class Wrong(Exception):
    """The ledger is not what it was when it was written; the message names the first row."""


class Totals(Struct):
    """What a verified ledger adds up to, in credits."""

    accounts: int = 0
    entries: int = 0
    granted: int = 0
    refunded: int = 0
    adjusted: int = 0
    charged: int = 0
    held: int = 0
    posted: int = 0
    loss: int = 0


def verify(connection: Connection, progress: Callable[[int], None] = lambda _: None) -> Totals:
    """The totals of a ledger that is right in every row. Raises Wrong. Reads one snapshot.

    `progress` is told the number of entries checked so far, now and then.
    """
    totals = Totals()
    for account in connection.execute(sa.select(balances).order_by(balances.c.account_id)).all():
        _Account(connection, account, totals, progress).verify()
    _no_strays(connection, totals)
    _check_limits(connection)
    _check_log(connection)
    if totals.granted + totals.refunded + totals.adjusted - totals.charged != totals.posted:
        raise Wrong("the books do not balance: grants, refunds and adjustments less charges are not the balances' sum")
    return totals


def count_entries(connection: Connection) -> int:
    """How many there are to verify."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(balances.c.entries), 0))).scalar_one())


class _Unfiled(Struct, array_like=True):
    """A request that is not in the log yet: the first of all that is written down of it, by position."""

    id: str


class _Account:
    def __init__(self, connection: Connection, row: Any, totals: Totals, progress: Callable[[int], None]) -> None:
        self._connection = connection
        self._row = row
        self._totals = totals
        self._progress = progress
        self._open: dict[str, Entry] = {}
        self._posted = self._held = self._number = self._settled = 0
        self._head = FIRST_HASH

    def verify(self) -> None:
        for entry, stored in self._entries():
            self._check(entry, stored)
            self._totals.entries += 1
            if self._totals.entries % _PAGE_ROWS == 0:
                self._progress(self._totals.entries)
        self._check_ends()
        self._check_logged()
        self._totals.accounts += 1
        self._totals.posted += self._posted
        self._totals.held += self._held
        self._progress(self._totals.entries)

    def _entries(self) -> Iterator[tuple[Entry, bytes]]:
        fields = (*(ledger_entries.c[name] for name in Entry.__struct_fields__), ledger_entries.c.hash)
        query = sa.select(*fields).where(ledger_entries.c.account_id == self._row.account_id)
        query = query.order_by(ledger_entries.c.number).limit(_PAGE_ROWS)
        last = 0
        while rows := self._connection.execute(query.where(ledger_entries.c.number > last)).all():
            for row in rows:
                yield Entry(*row[:-1]), bytes(row[-1])
            last = rows[-1].number

    def _check(self, entry: Entry, stored: bytes) -> None:
        where = f"entry {entry.number} of account {entry.account_id} ({entry.kind}, request {entry.request_id})"
        self._number += 1
        if entry.number != self._number:
            raise Wrong(f"entry {self._number} of account {entry.account_id} is missing: the next one is {where}")
        self._head = chained_hash(self._head, structs.astuple(entry))
        if self._head != stored:
            raise Wrong(f"{where} was changed, or one before it: its hash does not fit")
        self._posted += entry.posted
        self._held += entry.held
        if self._held < 0 or self._posted < self._held or entry.loss < 0:
            raise Wrong(f"{where} overdraws the account")
        if entry.kind == "hold":
            if entry.request_id in self._open or entry.held < 0 or entry.posted:
                raise Wrong(f"{where} is not a hold")
            self._open[entry.request_id] = entry
        elif entry.kind in RESOLUTIONS:
            hold = self._open.pop(entry.request_id, None)
            if hold is None or entry.held != -hold.held or not 0 <= -entry.posted <= hold.held:
                raise Wrong(f"{where} resolves no open hold, or charges more than was held")
        elif entry.held:
            raise Wrong(f"{where} changes what is held")
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        totals = self._totals
        totals.loss += entry.loss
        match entry.kind:
            case "grant":
                totals.granted += entry.posted
            case "refund":
                totals.refunded += entry.posted
            case "adjustment":
                totals.adjusted += entry.posted
            case _:
                totals.charged -= entry.posted
                self._settled -= entry.posted

    def _check_ends(self) -> None:
        row, account = self._row, f"account {self._row.account_id}"
        if (row.posted, row.held, row.entries, bytes(row.head)) != (self._posted, self._held, self._number, self._head):
            raise Wrong(
                f"the balance of {account} says {row.posted} posted, {row.held} held, {row.entries} entries; its entries say "
                f"{self._posted}, {self._held} and {self._number}, or the last one was changed"
            )
        columns = (holds.c.request_id, holds.c.credits, holds.c.key_id, holds.c.at)
        stored = self._connection.execute(sa.select(*columns).where(holds.c.account_id == row.account_id)).all()
        if {tuple(hold) for hold in stored} != {
            (each.request_id, each.held, each.key_id, each.at) for each in self._open.values()
        }:
            raise Wrong(f"the open holds of {account} are not those that its entries left open")
        for what, used in self._sums_of_usage().items():
            if used != self._settled:
                raise Wrong(f"the usage of {account} {what} says {used} credits were charged; its entries say {self._settled}")

    def _check_logged(self) -> None:
        """Each charge has its row in the log, or waits to be filed there."""
        account_id, unfiled, columns = self._row.account_id, self._unfiled(), ledger_entries.c
        query = sa.select(columns.number, columns.request_id).where(
            columns.account_id == account_id,
            columns.kind == "settle",
            ~sa.exists().where(requests.c.request_id == columns.request_id),
        )
        for after in range(0, self._number, _PAGE_ROWS):
            page = query.where(columns.number > after, columns.number <= after + _PAGE_ROWS).order_by(columns.number)
            for number, request_id in self._connection.execute(page):
                if request_id not in unfiled:
                    raise Wrong(f"entry {number} of account {account_id} charges request {request_id}, which is not in the log")

    def _unfiled(self) -> set[str]:
        """The ids of the requests that are not in the log yet."""
        mine = sa.select(unfiled_requests.c.body).where(unfiled_requests.c.account_id == self._row.account_id)
        ids: set[str] = set()
        for body in self._connection.execute(mine).scalars():
            with contextlib.suppress(msgspec.DecodeError):  # of a damaged one no request is found
                ids |= {request.id for request in msgspec.msgpack.decode(body, type=list[_Unfiled])}
        return ids

    def _sums_of_usage(self) -> dict[str, int]:
        """The same credits are summed in six ways: by key and for all keys, in spans of three lengths. What is not filed yet is
        in none of them.
        """
        columns = usage_buckets.c
        query = sa.select(columns.key_id == ALL_KEYS, columns.span, sa.func.sum(columns.credits)).group_by(sa.text("1, 2"))
        rows = self._connection.execute(query.where(columns.account_id == self._row.account_id)).all()
        sums = {(keys, span): 0 for keys in (False, True) for span in USAGE_SPANS}
        sums |= {(bool(all_keys), span): int(total) for all_keys, span, total in rows}
        mine = unfiled_requests.c.account_id == self._row.account_id
        unfiled = int(self._connection.execute(sa.select(sa.func.sum(unfiled_requests.c.credits)).where(mine)).scalar() or 0)
        sums = {place: total + unfiled for place, total in sums.items()}
        return {f"{'of all keys' if keys else 'by key'} in spans of {span} s": total for (keys, span), total in sums.items()}


def _no_strays(connection: Connection, totals: Totals) -> None:
    """Entries and holds of accounts that have no balance would not have been looked at."""
    count = connection.execute(sa.select(sa.func.count()).select_from(ledger_entries)).scalar_one()
    if count != totals.entries:
        raise Wrong(f"{count - totals.entries} entries belong to accounts without a balance")
    stray = sa.select(holds.c.request_id).where(holds.c.account_id.not_in(sa.select(balances.c.account_id)))
    if (request_id := connection.execute(stray.order_by(holds.c.request_id)).scalar()) is not None:
        raise Wrong(f"the hold of request {request_id} belongs to an account without a balance")


def _check_limits(connection: Connection) -> None:
    """What counts as held against the keys' own limits must be what is held for them."""
    columns = holds.c.key_id, holds.c.spend_window
    query = sa.select(*columns, sa.func.sum(holds.c.credits)).where(holds.c.spend_window.is_not(None)).group_by(*columns)
    open_holds = {(key_id, window): int(total) for key_id, window, total in connection.execute(query) if total}
    columns = key_spend.c.key_id, key_spend.c.starts_at
    counted = {(key_id, at): held for key_id, at, held in connection.execute(sa.select(*columns, key_spend.c.held)) if held}
    if wrong := sorted(dict(open_holds.items() ^ counted.items())):
        key_id, at = wrong[0]
        raise Wrong(
            f"the limit of key {key_id} in the window from {at} counts {counted.get(wrong[0], 0)} credits as held; "
            f"its open holds are {open_holds.get(wrong[0], 0)}"
        )


def _check_log(connection: Connection) -> None:
    """What people look a charge up in must say what was charged. In pieces, because PostgreSQL ends what takes long."""
    settled = sa.and_(ledger_entries.c.request_id == requests.c.request_id, ledger_entries.c.kind == "settle")
    charged = sa.func.coalesce(-ledger_entries.c.posted, 0)
    is_other = sa.or_(requests.c.credits != charged, ledger_entries.c.account_id != requests.c.account_id)
    query = sa.select(requests.c.request_id, requests.c.credits, charged).select_from(
        requests.outerjoin(ledger_entries, settled)
    )
    query = query.where(is_other).order_by(requests.c.id).limit(1)
    last = connection.execute(sa.select(sa.func.max(requests.c.id))).scalar() or 0
    for after in range(0, last, _PAGE_ROWS):
        piece = query.where(requests.c.id > after, requests.c.id <= after + _PAGE_ROWS)
        if (row := connection.execute(piece).first()) is not None:
            raise Wrong(
                f"the log says that request {row[0]} cost {row[1]} credits, or another account; its entries say {row[2]}"
            )
