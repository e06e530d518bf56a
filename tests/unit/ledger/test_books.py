"""The books' own guards, which hold where a lock does not: whatever would be wrong is rolled back."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from tests.desks import Bench, opened

from tollway.ledger import Books, Entry, Hold, LedgerFault, ledger
from tollway.storage import Database
from tollway.storage.tables import balances, holds
from tollway.wire.billing import EntryKind


@pytest.fixture
async def bench(database: Database) -> Bench:
    return await opened(database, 1000)


async def _is_refused(bench: Bench, match: str, work: Callable[[Books, Connection], None]) -> None:
    """`work` with the account locked, and the flush after it, end in a LedgerFault and change nothing."""
    before = await bench.balance()

    def working(connection: Connection) -> None:
        books = Books(connection)
        books.lock([bench.caller.account_id])
        work(books, connection)
        books.flush()

    with pytest.raises(LedgerFault, match=match):
        await bench.database.write(working)
    assert await bench.balance() == before
    await bench.verified()


async def test_a_balance_that_somebody_changed_meanwhile_is_not_written_over(bench: Bench) -> None:
    account = bench.caller.account_id

    def work(books: Books, connection: Connection) -> None:
        changed = {"posted": balances.c.posted - 1, "entries": balances.c.entries + 1}
        connection.execute(sa.update(balances).where(balances.c.account_id == account).values(changed))
        books.enter("grant", account, "grant2", posted=5)

    await _is_refused(bench, "changed under its lock", work)


async def test_a_balance_that_is_gone_is_not_written_over(bench: Bench) -> None:
    account = bench.caller.account_id

    def work(books: Books, connection: Connection) -> None:
        connection.execute(sa.delete(balances).where(balances.c.account_id == account))
        books.enter("grant", account, "grant2", posted=5)

    await _is_refused(bench, "changed under its lock", work)


async def test_a_hold_that_is_gone_is_not_resolved(bench: Bench) -> None:
    hold = (await bench.admit(100)).hold

    def work(books: Books, connection: Connection) -> None:
        connection.execute(sa.delete(holds).where(holds.c.request_id == hold.request_id))
        books.resolve("release", hold)

    await _is_refused(bench, "1 holds resolved, but 0 were open", work)


@pytest.mark.parametrize(("kind", "charged"), [("release", 1), ("expire", 100), ("settle", 101), ("settle", -1)])
async def test_only_a_settlement_charges_and_no_more_than_was_held(bench: Bench, kind: EntryKind, charged: int) -> None:
    hold = (await bench.admit(100)).hold
    await _is_refused(
        bench, f"{kind} of {charged} on a hold of 100", lambda books, _: books.resolve(kind, hold, charged=charged)
    )


async def test_nobody_is_overdrawn(bench: Bench) -> None:
    hold = Hold("req", bench.caller.account_id, bench.caller.key_id, 1001)
    hold_it: Callable[[Books, Connection], None] = lambda books, _: books.hold(hold, "node", model="m", price_version="v")  # noqa: E731
    await _is_refused(bench, "would leave 1000 posted and 1001 held", hold_it)


@pytest.mark.parametrize("kind", ["grant", "adjustment"])
async def test_what_is_named_for_two_accounts_in_one_moment_is_entered_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """PostgreSQL locks each account apart, so the second one looks before the first one is there."""
    other = await opened(bench.database, 0)
    looks = iter([False, False])
    has_entry = ledger._has_entry
    monkeypatch.setattr(ledger, "_has_entry", lambda *asked: next(looks, None) is None and has_entry(*asked))

    async def entered(at: Bench) -> Entry | None:
        account = at.caller.account_id
        if kind == "grant":
            return await at.ledger.grant(account, 5, once="invoice-1")
        return await at.ledger.adjust(account, 5, note="late", once="invoice-1")

    assert await entered(bench) is not None
    assert await entered(other) is None
    assert (await bench.balance(), await other.balance()) == ((1005, 0), (0, 0))
    await bench.verified()
