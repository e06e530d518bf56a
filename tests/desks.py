"""Admissions and endings as tests ask for them: an account with credits, orders, and how they end."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection

from tollway import clock
from tollway.accounts import Accounts, Caller, Limits
from tollway.admission import Admitted, Desk, Idempotency, Order, Outcome, Replay, Settled
from tollway.ledger import Ledger
from tollway.ledger.verify import Totals, verify
from tollway.storage import Database
from tollway.usage import RequestRecord, Status, UsageRecorder

_counter = itertools.count(1)


def order(
    caller: Caller,
    amount: int,
    *,
    least: int | None = None,
    tokens: int = 0,
    key: str | None = None,
    body: bytes = b"b" * 32,
    request_id: str | None = None,
) -> Order:
    """An order for `amount` credits; `key` is an Idempotency-Key."""
    asked = None if key is None else Idempotency(key, body)
    request_id = f"req{next(_counter)}" if request_id is None else request_id
    return Order(request_id, caller, "m", "v", amount, amount if least is None else least, tokens, asked)


def outcome(
    admitted: Admitted,
    amount: int,
    *,
    status: Status = "succeeded",
    tokens: int = 0,
    answer: bytes | None = None,
    **details: Any,
) -> Outcome:
    """The end of an admitted request that costs `amount` credits; `details` are of its row in the log."""
    caller = admitted.order.caller
    request_id = admitted.order.request_id
    usual: dict[str, Any] = {
        "request_id": request_id,
        "inference_id": "inf" + request_id,
        "status": status,
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "held": 0,
        "credits": amount,
    }
    record = recorded(caller.account_id, caller.key_id, **usual | details)
    return Outcome(admitted, record, tokens, answer)


def recorded(account_id: str, key_id: str | None = None, **details: Any) -> RequestRecord:
    """A row of the request log, of a request that began now; `details` replace what is usual."""
    number = next(_counter)
    usual: dict[str, Any] = {
        "request_id": f"req{number}",
        "inference_id": f"inf{number}",
        "client_request_id": None,
        "account_id": account_id,
        "key_id": key_id,
        "origin": "api",
        "model": "m",
        "answered_by": "m",
        "route": "u/m",
        "attempts": 1,
        "stream": False,
        "status": "succeeded",
        "finish_reason": "stop",
        "error_code": None,
        "prompt_tokens": 10,
        "cached_tokens": 0,
        "completion_tokens": 5,
        "reasoning_tokens": 0,
        "held": 100,
        "credits": 30,
        "loss": 0,
        "price_version": "v",
        "flags": None,
        "created_at": clock.now(),
        "first_token_ms": 1,
        "duration_ms": 2,
    }
    return RequestRecord(**usual | details)


async def record(database: Database, *records: RequestRecord) -> None:
    """Writes rows of the log, as a settlement does. The ledger knows nothing of them."""

    def work(connection: Connection) -> None:
        recorder = UsageRecorder(connection)
        for each in records:
            recorder.add(each)
        recorder.flush()

    await database.write(work)


@dataclass
class Bench:
    """A desk over a database, and one account with credits at it."""

    database: Database
    desk: Desk
    caller: Caller
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.database)

    async def admit(self, amount: int, **details: object) -> Admitted:
        admitted = await self.desk.admit(order(self.caller, amount, **details))  # type: ignore[arg-type]
        assert isinstance(admitted, Admitted)
        return admitted

    async def replay(self, amount: int, **details: object) -> bytes:
        replay = await self.desk.admit(order(self.caller, amount, **details))  # type: ignore[arg-type]
        assert isinstance(replay, Replay)
        return replay.answer

    async def settle(self, admitted: Admitted, amount: int, **details: object) -> Settled:
        settled = await self.desk.finish(outcome(admitted, amount, **details))  # type: ignore[arg-type]
        await settled.durable()
        return settled

    async def balance(self) -> tuple[int, int]:
        """(posted, held)."""
        balance = await self.ledger.balance(self.caller.account_id)
        return balance.posted, balance.held

    async def verified(self) -> Totals:
        return await self.database.read(verify)


async def opened(database: Database, amount: int, node: str = "node_test") -> Bench:
    """A new account with `amount` credits, and a caller with a key of it that has no limits."""
    accounts = Accounts(database, b"s" * 32)
    account = await accounts.create_account(f"account {next(_counter)}")
    key = (await accounts.create_key(account.id, "key")).record
    if amount:
        await Ledger(database).grant(account.id, amount)
    await accounts.close()
    return Bench(database, Desk(database, node), Caller(account.id, account.name, key.id, key.prefix, key.name))


def limited(caller: Caller, *, key: Limits | None = None, account: Limits | None = None) -> Caller:
    return replace(caller, limits=key or caller.limits, account_limits=account or caller.account_limits)
