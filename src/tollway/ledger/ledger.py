"""What is done with an account's credits by hand, and what can be read of them."""

from collections.abc import Callable
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway.errors import InvalidRequest, NotFound
from tollway.ids import random_text
from tollway.ledger.books import FIRST_HASH, Books
from tollway.ledger.records import Balance, Entry
from tollway.money import CREDITS_MAX
from tollway.storage import Database
from tollway.storage.tables import IS_BOOKED_BY_HAND, IS_TRANSACTION, accounts, balances, ledger_entries
from tollway.storage.texts import is_storable
from tollway.wire.billing import Direction, TransactionType

GrantReason = Literal["payment", "bonus", "init"]

_NOTE_LENGTH_MAX = 200
Cursor = tuple[float, int]
"""The time and number of the last entry of a page."""


class _EntryRefused(Exception):
    """By the database."""


class Ledger:
    """Balances and entries. Each method is one transaction; what is entered is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balance(self, account_id: str) -> Balance:
        """An account without entries has an empty balance."""

        def work(connection: Connection) -> Balance:
            row = connection.execute(sa.select(balances).where(balances.c.account_id == account_id)).first()
            if row is None:
                return Balance(account_id, 0, 0, 0, FIRST_HASH)
            return Balance(account_id, row.posted, row.held, row.entries, bytes(row.head))

        return await self._database.read(work)

    async def grant(
        self,
        account_id: str,
        credits_granted: int,
        *,
        reason: GrantReason = "payment",
        note: str | None = None,
        once: str | None = None,
    ) -> Entry | None:
        """Adds credits. `once` names the grant: a second one of that name does nothing and gives None.

        Raises NotFound without such an account, and InvalidRequest for an amount or a note that cannot be.
        """
        _check_amount(credits_granted)
        request_id = once or "grant_" + random_text(21)

        def work(connection: Connection) -> Entry | None:
            books = _locked_books(connection, account_id)
            if once is not None and _has_entry(connection, once, "grant"):
                return None
            _refuse_above(books.balance(account_id), credits_granted)
            entry = books.enter(
                "grant", account_id, request_id, posted=credits_granted, reference=reason, note=checked_note(note)
            )
            books.flush()
            return entry

        return await self._written(work, once, "grant")

    async def adjust(self, account_id: str, credits_added: int, *, note: str, once: str | None = None) -> Entry | None:
        """Corrects a balance, up or down. `note` says why; `once` and what is raised are as in `grant`.

        Raises InvalidRequest, too, when it would go below what is held.
        """
        _check_amount(abs(credits_added))
        if not note.strip():
            raise InvalidRequest("Say in the note why the balance is corrected.", param="note")

        def work(connection: Connection) -> Entry | None:
            books = _locked_books(connection, account_id)
            if once is not None and _has_entry(connection, once, "adjustment"):
                return None
            balance = books.balance(account_id)
            _refuse_above(balance, credits_added)
            if balance.available + credits_added < 0:
                told = f"The account has {balance.available:,} credits available; it cannot lose more."
                raise InvalidRequest(told, param="credits")
            request_id = once or "adjustment_" + random_text(21)
            entry = books.enter("adjustment", account_id, request_id, posted=credits_added, note=checked_note(note))
            books.flush()
            return entry

        return await self._written(work, once, "adjustment")

    async def _written(self, work: Callable[[Connection], Entry | None], once: str | None, kind: str) -> Entry | None:
        """None, too, where `once` was entered for another account in the same moment: the database lets one of them in."""

        def working(connection: Connection) -> Entry | None:
            try:
                return work(connection)
            except connection.dialect.dbapi.IntegrityError as error:  # type: ignore[union-attr]  # the driver's own, see Prepared
                raise _EntryRefused from error

        try:
            return await self._database.write(working)
        except _EntryRefused:
            if once is None or not await self._database.read(lambda connection: _has_entry(connection, once, kind)):
                raise
            return None

    async def refund(self, request_id: str, *, note: str | None = None) -> Entry:
        """Gives back what a request was charged, all of it.

        Raises NotFound where nothing was charged, and InvalidRequest the second time.
        """

        def work(connection: Connection) -> Entry:
            charge = (ledger_entries.c.request_id == request_id, ledger_entries.c.kind == "settle")
            settled = sa.select(ledger_entries).where(*charge)
            found = connection.execute(settled).first()
            if found is None or found.posted == 0:
                raise NotFound("There is no charge for such a request.", param="request_id")
            books = _locked_books(connection, found.account_id)
            if _has_entry(connection, found.request_id, "refund"):
                raise InvalidRequest("This request was refunded already.", param="request_id", code="already_refunded")
            entry = books.enter(
                "refund",
                found.account_id,
                found.request_id,
                posted=-found.posted,
                key_id=found.key_id,
                model=found.model,
                reference=found.reference,
                price_version=found.price_version,
                note=checked_note(note),
            )
            books.flush()
            return entry

        return await self._database.write(work)

    async def transactions(
        self,
        account_id: str,
        *,
        key_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        direction: Direction | None = None,
        kind: TransactionType | None = None,
        limit: int = 50,
        before: Cursor | None = None,
    ) -> list[Entry]:
        """Entries that changed the posted balance, newest first. `before` = the last one of the page before.

        `key_id` leaves those that the key has caused.
        """
        columns = ledger_entries.c
        query = sa.select(*(columns[name] for name in Entry.__struct_fields__)).where(
            columns.account_id == account_id, IS_TRANSACTION, *_conditions(direction, kind)
        )
        if key_id is not None:
            query = query.where(columns.key_id == key_id)
        if since is not None:
            query = query.where(columns.at >= since)
        if until is not None:
            query = query.where(columns.at < until)
        if before is not None:
            query = query.where(sa.tuple_(columns.at, columns.number) < before)
        query = query.order_by(columns.at.desc(), columns.number.desc()).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Entry(**row) for row in rows]

    async def entries_of(self, request_id: str) -> list[Entry]:
        """All that the ledger has of one request, in order: its hold, how it ended, a refund."""
        columns = ledger_entries.c
        query = sa.select(*(columns[name] for name in Entry.__struct_fields__)).where(columns.request_id == request_id)
        rows = await self._database.read(lambda connection: connection.execute(query.order_by(columns.number)).mappings().all())
        return [Entry(**row) for row in rows]


def transaction_type(entry: Entry) -> TransactionType:
    """An entry in the platform's words."""
    match entry.kind, entry.reference:
        case "grant", "init":
            return "INIT"
        case "grant", "bonus":
            return "BONUS"
        case "grant", _:
            return "PAYMENT"
        case "refund", _:
            return "REFUND"
        case "adjustment", _:
            return "ADJUSTMENT"
    return "MODEL_USAGE"


def _conditions(direction: Direction | None, kind: TransactionType | None) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """What a page's filters mean. Credits come in by hand only, so TOPUP can use the small index."""
    columns = ledger_entries.c
    conditions: list[sa.ColumnElement[bool] | sa.TextClause] = []
    if direction == "TOPUP":
        conditions += [IS_BOOKED_BY_HAND, columns.posted > 0]
    elif direction == "CHARGE":
        conditions.append(columns.posted < 0)
    if kind == "MODEL_USAGE":
        conditions.append(columns.kind == "settle")
    elif kind in ("REFUND", "ADJUSTMENT"):
        conditions += [IS_BOOKED_BY_HAND, columns.kind == kind.lower()]
    elif kind in ("INIT", "BONUS", "PAYMENT"):
        conditions += [IS_BOOKED_BY_HAND, columns.kind == "grant", columns.reference == kind.lower()]
    elif kind is not None:
        conditions.append(sa.false())  # credits do not expire here
    return conditions


def _locked_books(connection: Connection, account_id: str) -> Books:
    if connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account_id)).first() is None:
        raise NotFound("There is no such account.")
    books = Books(connection)
    books.lock([account_id])
    return books


def _has_entry(connection: Connection, request_id: str, kind: str) -> bool:
    query = sa.select(ledger_entries.c.number).where(ledger_entries.c.request_id == request_id, ledger_entries.c.kind == kind)
    return connection.execute(query).first() is not None


def _check_amount(credits_moved: int) -> None:
    if not 1 <= credits_moved <= CREDITS_MAX:
        raise InvalidRequest(f"The amount must be 1 to {CREDITS_MAX:,} credits.", param="credits")


def _refuse_above(balance: Balance, credits_added: int) -> None:
    if credits_added > 0 and balance.posted + credits_added > CREDITS_MAX:
        told = f"An account has at most {CREDITS_MAX:,} credits, and this one has {balance.posted:,}."
        raise InvalidRequest(told, param="credits")


def checked_note(note: str | None) -> str | None:
    """What a booking may carry to say why. Raises InvalidRequest."""
    if note is not None and (len(note) > _NOTE_LENGTH_MAX or not is_storable(note)):
        raise InvalidRequest(f"A note is one line of at most {_NOTE_LENGTH_MAX} characters.", param="note")
    return note
