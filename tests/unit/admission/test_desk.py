import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.desks import Bench, opened, order, outcome

from tollway.admission import Admitted, Desk
from tollway.admission import desk as desk_module
from tollway.admission.nodes import expire_holds_of
from tollway.errors import (
    InsufficientCredits,
    InternalError,
    InvalidRequest,
    ServiceUnavailable,
    StorageUnavailable,
)
from tollway.storage import Database
from tollway.storage.database import WorkAtOnce
from tollway.storage.not_now import NotNow
from tollway.storage.tables import ledger_entries, requests, usage_buckets
from tollway.usage.filing import file_all

T = TypeVar("T")


async def count(database: Database, table: sa.Table) -> int:
    return await database.read(
        lambda connection: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    )


async def test_a_request_is_held_and_then_charged_what_it_cost(bench: Bench) -> None:
    admitted = await bench.admit(100)
    assert await bench.balance() == (1000, 100)
    settled = await bench.settle(admitted, 30)
    assert (settled.credits, settled.available) == (30, 970)
    assert await bench.balance() == (970, 0)
    assert [entry.kind for entry in await bench.ledger.entries_of(admitted.hold.request_id)] == ["hold", "settle"]
    for _ in range(2):  # before the log is filed, and after
        totals = await bench.verified()
        assert (totals.granted, totals.charged, totals.held) == (1000, 30, 0)
        await file_all(bench.database)
    assert await count(bench.database, requests) == 1
    assert await count(bench.database, usage_buckets) == 6  # for its key and for all, in its quarter, hour and day


async def test_what_costs_more_than_was_held_is_the_operators_loss(bench: Bench) -> None:
    admitted = await bench.admit(100)
    assert (await bench.settle(admitted, 130)).credits == 100
    assert await bench.balance() == (900, 0)
    assert (await bench.verified()).loss == 30


async def test_a_failed_request_is_free(bench: Bench) -> None:
    admitted = await bench.admit(100)
    await bench.settle(admitted, 0, status="failed")
    assert await bench.balance() == (1000, 0)
    assert [entry.kind for entry in await bench.ledger.entries_of(admitted.hold.request_id)] == ["hold", "release"]
    await bench.verified()


async def test_nobody_gets_more_than_there_is(bench: Bench) -> None:
    results = await asyncio.gather(*(bench.desk.admit(order(bench.caller, 10)) for _ in range(1000)), return_exceptions=True)
    admitted = [result for result in results if isinstance(result, Admitted)]
    refused = [result for result in results if isinstance(result, InsufficientCredits)]
    assert (len(admitted), len(refused)) == (100, 900)
    assert refused[0].data == {"kind": "err_insufficent_credits", "credits_needed": 10, "credits_available": 0}
    assert await bench.balance() == (1000, 1000)
    await asyncio.gather(*(bench.settle(one, 10) for one in admitted))
    assert await bench.balance() == (0, 0)
    await bench.verified()


async def test_an_order_that_may_be_cut_gets_what_there_is(bench: Bench) -> None:
    assert (await bench.admit(5000, least=10)).hold.credits == 1000
    with pytest.raises(InsufficientCredits):
        await bench.admit(5000, least=10)


async def test_who_got_less_than_he_asked_for_is_not_vouched_for(bench: Bench) -> None:
    await bench.admit(5000, least=10)
    assert not bench.desk.vouches_for(order(bench.caller, 10))


async def test_one_batch_after_the_other_is_written_without_a_fault(bench: Bench) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            await bench.settle(await bench.admit(10), 5)
    assert logs == []  # a batch that fails at once is written in the thread, and only the log tells


async def test_a_hold_is_resolved_once(bench: Bench) -> None:
    admitted = await bench.admit(100)
    first, second = await asyncio.gather(bench.settle(admitted, 30), bench.settle(admitted, 30), return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, ServiceUnavailable)
    with pytest.raises(ServiceUnavailable, match="not charged"):
        await bench.settle(admitted, 30)
    assert await bench.balance() == (970, 0)
    await bench.verified()


async def test_one_request_id_cannot_be_held_twice(bench: Bench) -> None:
    await bench.admit(100, request_id="same")
    again = await bench.desk.admit(order(bench.caller, 100, request_id="same"))
    assert isinstance(again, Admitted)  # the earlier attempt counts: this is how a lost answer to a commit is mended
    assert await bench.balance() == (1000, 100)
    await bench.verified()


async def test_a_request_without_an_id_is_refused_and_harms_no_other(bench: Bench) -> None:
    good, bad = await asyncio.gather(
        bench.desk.admit(order(bench.caller, 1)),
        bench.desk.admit(order(bench.caller, 1, request_id="")),
        return_exceptions=True,
    )
    assert isinstance(good, Admitted)
    assert isinstance(bad, Exception)
    assert await bench.balance() == (1000, 1)


async def test_who_leaves_while_being_admitted_holds_nothing(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.desk.admit(order(bench.caller, 100)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await bench.desk.close()
    await asyncio.sleep(0)
    await bench.desk.close()
    assert await bench.balance() == (1000, 0)
    assert await count(bench.database, ledger_entries) == 3  # the grant, the hold and its release
    await bench.verified()


async def test_who_leaves_in_the_moment_of_being_admitted_holds_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.create_task(bench.desk.admit(order(bench.caller, 100)))
    tell = bench.desk._tell

    def cancelled_first(*arguments: Any) -> None:
        asyncio.get_running_loop().call_soon(waiting.cancel)  # it runs between the result and the one who waits for it
        tell(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(bench.desk, "_tell", cancelled_first)
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await bench.desk.close()
    assert await bench.balance() == (1000, 0)
    await bench.verified()


async def test_a_charge_is_refunded_once(bench: Bench) -> None:
    admitted = await bench.admit(100)
    await bench.settle(admitted, 30)
    results = await asyncio.gather(*(bench.ledger.refund(admitted.hold.request_id) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results].count(InvalidRequest) == 1
    assert await bench.balance() == (1000, 0)
    await bench.verified()


async def test_two_desks_share_one_balance(bench: Bench) -> None:
    other = Desk(bench.database, "node_other")
    orders = [desk.admit(order(bench.caller, 10)) for _ in range(100) for desk in (bench.desk, other)]
    results = await asyncio.gather(*orders, return_exceptions=True)
    assert sum(isinstance(result, Admitted) for result in results) == 100


async def test_what_others_write_is_seen_whatever_is_filed_meanwhile(bench: Bench) -> None:
    """Filing writes through the connection that the desk knows its balances from."""
    await bench.settle(await bench.admit(1000), 1000)
    with pytest.raises(InsufficientCredits):
        await bench.admit(10)
    await bench.ledger.grant(bench.caller.account_id, 50)
    await file_all(bench.database)
    await bench.settle(await bench.admit(10), 10)
    assert await bench.balance() == (40, 0)


async def test_an_outcome_of_nothing_known_is_a_release(bench: Bench) -> None:
    admitted = await bench.admit(10)
    settled = await bench.desk.finish(replace(outcome(admitted, 5), record=None))
    assert settled.credits == 0
    assert await bench.balance() == (1000, 0)


# --- what nobody knows the fate of ------------------------------------------------------------------------------------


class Unlucky:
    """A database whose commits fail as long as `broken` says so: "before" it, or "after" it, when the answer is lost; with
    `is_brief` only the next one does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.broken = ""
        self.is_brief = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def at_once(self, work: WorkAtOnce[T]) -> T:
        if self.broken:
            raise NotNow  # what goes wrong is the writer's thread's affair
        return self._database.at_once(work)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Any]:
        with self._database.transaction(durable=durable) as connection:
            yield connection
            if self.broken == "before":
                raise StorageUnavailable(reason="the disk is full")
        if self.broken == "after":
            if self.is_brief:
                self.broken = ""
            raise StorageUnavailable(reason="the connection was lost")


@pytest.fixture
async def unlucky(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Unlucky:
    monkeypatch.setattr(desk_module, "RETRY_SECONDS_MAX", 0.0)
    monkeypatch.setattr(desk_module, "_HOLD_RETRY_SECONDS_MAX", 0.0)
    unlucky = Unlucky(bench.database)
    bench.desk = Desk(unlucky, "node_test")  # type: ignore[arg-type]
    return unlucky


@pytest.mark.parametrize("broken", ["before", "after"])
async def test_a_hold_whose_commit_was_not_confirmed_is_given_back(bench: Bench, unlucky: Unlucky, broken: str) -> None:
    bench.caller = replace(bench.caller, spend_limit_credits=500, spend_window="day")
    unlucky.broken = broken
    with pytest.raises(StorageUnavailable):
        await bench.admit(100, key="k")
    unlucky.broken = ""
    assert (await bench.verified()).held == (100 if broken == "after" else 0)
    await bench.desk.make_good()
    assert await bench.balance() == (1000, 0)
    assert (await bench.admit(500, key="k")).hold.credits == 500, "the key's own limit and its Idempotency-Key are free again"
    await bench.verified()


@pytest.mark.parametrize("broken", ["before", "after"])
async def test_an_answer_that_failed_for_its_settlement_is_free(bench: Bench, unlucky: Unlucky, broken: str) -> None:
    admitted, other = await bench.admit(100), await bench.admit(50)
    for each in (admitted, other):
        unlucky.broken = broken
        with pytest.raises(StorageUnavailable):
            await bench.settle(each, 30)
        unlucky.broken = ""
    for _ in range(2):  # the second time there is nothing left to do
        await bench.desk.make_good()
        assert await bench.balance() == (1000, 0)
    kinds = [entry.kind for entry in await bench.ledger.entries_of(admitted.hold.request_id)]
    assert kinds == (["hold", "settle", "refund"] if broken == "after" else ["hold", "release"])
    await bench.verified()


async def _settled_and_told_as_failed(bench: Bench, unlucky: Unlucky, admitted: Admitted, cost: int, **details: Any) -> None:
    unlucky.broken = "after"
    with pytest.raises(StorageUnavailable):
        await bench.settle(admitted, cost, **details)
    unlucky.broken = ""


async def test_a_charge_that_is_found_when_it_is_looked_for_twice_is_given_back(
    bench: Bench, unlucky: Unlucky, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = await bench.admit(100)
    await _settled_and_told_as_failed(bench, unlucky, admitted, 30)
    monkeypatch.setattr(desk_module, "RETRY_SECONDS_MAX", 5.0)
    unlucky.broken, unlucky.is_brief = "after", True  # the second look takes the charge for what the first one has done
    await bench.desk.make_good()
    assert unlucky.broken == ""
    assert await bench.balance() == (1000, 0)
    await bench.verified()


async def test_a_charge_that_was_refunded_meanwhile_is_not_given_back_again(bench: Bench, unlucky: Unlucky) -> None:
    admitted = await bench.admit(100)
    await _settled_and_told_as_failed(bench, unlucky, admitted, 30)
    await bench.ledger.refund(admitted.hold.request_id)
    await bench.desk.make_good()
    assert await bench.balance() == (1000, 0)
    await bench.verified()


async def test_what_was_told_as_failed_is_undone_before_the_end(bench: Bench, unlucky: Unlucky) -> None:
    admitted = await bench.admit(100)
    await _settled_and_told_as_failed(bench, unlucky, admitted, 30)
    await bench.desk.close()
    assert await bench.balance() == (1000, 0)


async def test_a_database_that_is_away_does_not_keep_a_desk_from_closing(bench: Bench, unlucky: Unlucky) -> None:
    unlucky.broken = "before"
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await bench.settle(await _admitted_in_spite(bench, unlucky), 30)
    async with asyncio.timeout(5):
        await bench.desk.close()
    unlucky.broken = ""
    await bench.desk.make_good()
    assert await bench.balance() == (1000, 0)


async def _admitted_in_spite(bench: Bench, unlucky: Unlucky) -> Admitted:
    broken, unlucky.broken = unlucky.broken, ""
    admitted = await bench.admit(100)
    unlucky.broken = broken
    return admitted


async def test_a_kept_answer_whose_settlement_was_in_doubt_is_given_again_and_charged_once(
    bench: Bench, unlucky: Unlucky
) -> None:
    admitted = await bench.admit(100, key="k")
    await _settled_and_told_as_failed(bench, unlucky, admitted, 30, answer=b"the answer")
    for _ in range(2):  # before it is looked after, and afterwards
        assert await bench.replay(100, key="k") == b"the answer"
        await bench.desk.make_good()
        assert await bench.balance() == (970, 0)
    await bench.verified()


async def test_a_charge_that_is_given_back_leaves_the_keys_own_limit_as_it_was(bench: Bench, unlucky: Unlucky) -> None:
    bench.caller = replace(bench.caller, spend_limit_credits=100, spend_window="day")
    admitted = await bench.admit(100)
    await _settled_and_told_as_failed(bench, unlucky, admitted, 60)
    await bench.desk.make_good()
    assert (await bench.admit(100)).hold.credits == 100


@pytest.mark.parametrize("why", ["its hold expired", "it could not be written"])
async def test_what_an_answer_cost_that_could_not_be_charged_is_in_the_log(bench: Bench, unlucky: Unlucky, why: str) -> None:
    admitted = await bench.admit(100)
    if why == "its hold expired":
        await bench.database.write(lambda connection: expire_holds_of(connection, ["node_test"]))
    else:
        unlucky.broken = "before"
    with pytest.raises(ServiceUnavailable):
        await bench.settle(admitted, 30)
    unlucky.broken = ""
    await bench.desk.make_good()
    await file_all(bench.database)
    rows = await bench.database.read(lambda connection: connection.execute(sa.select(requests)).all())
    assert [(row.status, row.credits, row.loss) for row in rows] == [("failed", 0, 30)]
    assert await bench.balance() == (1000, 0)
    await bench.verified()


async def test_a_replay_is_told_once_the_disk_has_its_settlement(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have committed it at once, and be waiting for the disk."""
    await bench.settle(await bench.admit(100, key="k"), 30, answer=b"the answer")
    seen: list[bool] = []
    transaction = bench.database.transaction

    def watched(*, durable: bool = True) -> Any:
        seen.append(durable)
        return transaction(durable=durable)

    monkeypatch.setattr(bench.database, "transaction", watched)
    monkeypatch.setattr(bench.database, "at_once", _not_now)
    assert await bench.replay(100, key="k") == b"the answer"
    assert seen == [True]


def _not_now(*_: object) -> Any:
    raise NotNow


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # PostgreSQL is never written to at once
async def test_a_replay_that_is_found_at_once_waits_for_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.settle(await bench.admit(100, key="k"), 30, answer=b"the answer")
    syncs = 0
    sync = bench.database.sync

    async def watched() -> None:
        nonlocal syncs
        syncs += 1
        await sync()

    monkeypatch.setattr(bench.database, "sync", watched)
    assert await bench.replay(100, key="k") == b"the answer"
    assert syncs == 1


async def test_what_expired_meanwhile_does_not_keep_the_rest_from_being_released(bench: Bench, unlucky: Unlucky) -> None:
    admitted, other = await bench.admit(100), await bench.admit(50)
    unlucky.broken = "before"
    for each in (admitted, other):
        with pytest.raises(StorageUnavailable):
            await bench.settle(each, 30)
    await bench.database.write(lambda connection: expire_holds_of(connection, ["node_test"]))
    third = await opened(bench.database, 1000)
    await bench.desk.make_good()
    unlucky.broken = ""
    await bench.desk.make_good()
    assert await bench.balance() == (1000, 0)
    assert await third.balance() == (1000, 0)
    await bench.verified()


async def test_a_settlement_that_cannot_be_written_at_all_leaves_no_hold(bench: Bench) -> None:
    admitted = await bench.admit(100)
    with pytest.raises(InternalError, match="not charged"):
        await bench.settle(admitted, 30, prompt_tokens=2**70)
    await bench.desk.make_good()
    assert await bench.balance() == (1000, 0)
    await bench.verified()


async def test_nobody_is_left_waiting_whatever_happens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted = await bench.admit(100)

    def write(*_: Any, **__: Any) -> Any:
        raise OSError("the log cannot be written either")

    with monkeypatch.context() as patched:
        patched.setattr(bench.desk, "_write", write)
        patched.setattr(bench.desk, "_run_batch", write)
        for waiting in (bench.settle(admitted, 30), bench.admit(50)):
            with pytest.raises(InternalError):
                await asyncio.wait_for(waiting, 5)
    await bench.desk.make_good()
    assert await bench.balance() == (1000, 0)
    await bench.settle(await bench.admit(100), 30)
    await bench.verified()
