"""The ledger against a tiny model of it, by random histories: RELIABILITY's promise that the books always balance.

`LEDGER_STEPS` sets how many random steps are made; the suite makes a slice of what `make faults` makes.
"""

import asyncio
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Connection
from tests.desks import order, outcome

from tollway.accounts import Accounts, Caller
from tollway.admission import Admitted, Replay, Settled
from tollway.admission.batch import run_batch
from tollway.admission.nodes import expire_holds_of
from tollway.admission.state import State
from tollway.errors import Conflict, InsufficientCredits, InvalidRequest, ServiceUnavailable, SpendLimitReached, TollwayError
from tollway.ledger import Ledger
from tollway.ledger.verify import verify
from tollway.storage import Database

STEPS = int(os.environ.get("LEDGER_STEPS", "500"))
_STEPS_EACH = 50 if STEPS < 10_000 else 200
_HISTORIES_EACH = 100
"""Random histories of one run of Hypothesis, which remembers them all."""
T = TypeVar("T")
NODES = ("node_a", "node_b")
amounts = st.integers(0, 300)


@functools.cache
def _migrated() -> bytes:
    """A database file with the schema and nothing else: migrating takes longer than a history."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "t.db")
        database.migrate()
        database.close()  # which leaves all of it in the one file
        return (Path(folder) / "t.db").read_bytes()


class _InOneThread(Database):
    """Handing work to the database's threads would take most of the time."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        with self._backend.reading() as connection:
            return work(connection)

    async def in_writer(self, function: Callable[[], T]) -> T:
        return function()


class LedgerMachine(RuleBasedStateMachine):
    """One account with two keys, one of them with a spend limit; two nodes."""

    steps = 0
    """Made by all machines so far."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "t.db"
        path.write_bytes(_migrated())
        self.database = _InOneThread(path)
        self.loop = asyncio.new_event_loop()
        self.ledger = Ledger(self.database)
        accounts = Accounts(self.database, b"s" * 32)
        account = self.loop.run_until_complete(accounts.create_account("a"))
        free = Caller(account.id, "a", "key_free", "tw_free", "free")
        bound = Caller(account.id, "a", "key_bound", "tw_bound", "bound", spend_limit_credits=500, spend_window="no_reset")
        self.callers = (free, bound)
        # the model
        self.posted = 0
        self.open: dict[str, tuple[Admitted, str]] = {}
        self.spent_bound = 0
        self.loss = 0
        self.done: list[Admitted] = []
        self.charges: dict[str, int] = {}

    @property
    def held(self) -> int:
        return sum(admitted.hold.credits for admitted, _ in self.open.values())

    @property
    def held_bound(self) -> int:
        return sum(one.hold.credits for one, _ in self.open.values() if one.hold.key_id == "key_bound")

    def run(self, commands: list[Any], node: str = NODES[0]) -> list[Any]:
        with self.database.transaction(durable=False) as connection:
            return run_batch(State(connection), commands, node)

    @rule(credits_granted=st.integers(1, 500))
    def grant(self, credits_granted: int) -> None:
        self.loop.run_until_complete(self.ledger.grant(self.callers[0].account_id, credits_granted))
        self.posted += credits_granted

    @rule(change=st.integers(-400, 400).filter(bool))
    def adjust(self, change: int) -> None:
        try:
            self.loop.run_until_complete(self.ledger.adjust(self.callers[0].account_id, change, note="test"))
        except TollwayError:
            assert self.posted - self.held + change < 0
        else:
            assert self.posted - self.held + change >= 0
            self.posted += change

    @rule(wanted=st.lists(st.tuples(amounts, amounts, st.booleans()), min_size=1, max_size=4), node=st.sampled_from(NODES))
    def admit(self, wanted: list[tuple[int, int, bool]], node: str) -> None:
        orders = [order(self.callers[bound], max(a, b), least=min(a, b)) for a, b, bound in wanted]
        for asked, result in zip(orders, self.run(list(orders), node), strict=True):
            available = self.posted - self.held
            left = 500 - self.spent_bound - self.held_bound if asked.caller is self.callers[1] else available
            if isinstance(result, InsufficientCredits):
                assert available < asked.credits_min
            elif isinstance(result, SpendLimitReached):
                assert left < asked.credits_min <= available
            else:
                assert isinstance(result, Admitted)
                assert result.hold.credits == min(asked.credits, available, left) >= asked.credits_min
                self.open[asked.request_id] = (result, node)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), cost=st.integers(0, 600), status=st.sampled_from(("succeeded", "failed", "cancelled")))
    def finish(self, data: st.DataObject, cost: int, status: Any) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.open)))
        admitted, _ = self.open.pop(request_id)
        cost = 0 if status == "failed" else cost
        (result,) = self.run([outcome(admitted, cost, status=status)])
        assert isinstance(result, Settled)
        charged = min(cost, admitted.hold.credits)
        assert result.credits == charged
        self.posted -= charged
        self.loss += cost - charged
        self.charges[request_id] = charged
        if admitted.hold.key_id == "key_bound":
            self.spent_bound += charged
        self.done.append(admitted)

    @precondition(lambda self: self.done)
    @rule(data=st.data(), cost=amounts)
    def finish_again(self, data: st.DataObject, cost: int) -> None:
        (result,) = self.run([outcome(data.draw(st.sampled_from(self.done)), cost)])
        assert isinstance(result, ServiceUnavailable)

    @rule(node=st.sampled_from(NODES))
    def crash(self, node: str) -> None:
        with self.database.transaction(durable=False) as connection:
            while expire_holds_of(connection, [node]):
                pass
        for request_id in [request_id for request_id, (_, of) in self.open.items() if of == node]:
            self.done.append(self.open.pop(request_id)[0])

    @precondition(lambda self: self.charges)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.charges)))
        charged = self.charges.pop(request_id)
        try:
            self.loop.run_until_complete(self.ledger.refund(request_id))
        except TollwayError:
            assert charged == 0
            return
        self.posted += charged
        with pytest.raises(InvalidRequest, match="refunded already"):
            self.loop.run_until_complete(self.ledger.refund(request_id))

    @rule(key=st.sampled_from("kl"), cost=amounts, answered=st.booleans())
    def idempotent(self, key: str, cost: int, answered: bool) -> None:
        asked = order(self.callers[0], cost, key=key)
        (result,) = self.run([asked])
        if isinstance(result, Replay):
            assert result.answer == key.encode()
        elif isinstance(result, Admitted):
            (twin,) = self.run([order(self.callers[0], cost, key=key)])
            assert isinstance(twin, Conflict)
            answer = key.encode() if answered else None
            (settled,) = self.run(
                [outcome(result, cost if answered else 0, status="succeeded" if answered else "failed", answer=answer)]
            )
            self.posted -= settled.credits
        else:
            assert isinstance(result, InsufficientCredits)

    @invariant()
    def the_balance_is_the_models(self) -> None:
        LedgerMachine.steps += 1
        balance = self.loop.run_until_complete(self.ledger.balance(self.callers[0].account_id))
        assert (balance.posted, balance.held) == (self.posted, self.held)

    def teardown(self) -> None:
        totals = self.loop.run_until_complete(self.database.read(verify))
        assert (totals.posted, totals.held, totals.loss) == (self.posted, self.held, self.loss)
        self.database.close()
        self.loop.close()
        self.folder.cleanup()


@pytest.mark.timeout(300 + STEPS // 50)
def test_the_books_always_balance(record_property: Callable[[str, Any], None]) -> None:
    LedgerMachine.steps = 0
    while (left := STEPS - LedgerMachine.steps) > 0:
        run_state_machine_as_test(
            LedgerMachine,
            settings=settings(
                max_examples=min(_HISTORIES_EACH, -(-left // _STEPS_EACH)),
                stateful_step_count=_STEPS_EACH,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
    record_property("random steps", LedgerMachine.steps)
