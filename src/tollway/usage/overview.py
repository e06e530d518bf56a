"""What an operator sees of the whole installation: how busy it is, what failed last, what the ledger adds up to.

Of the request log only the newest rows are read (NEWEST_MAX), whoever they are of; totals come from balances and sums that are
kept anyway. So the cost is the same at any number of requests.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from tollway import clock
from tollway.storage import Database
from tollway.storage.tables import (
    ALL_KEYS,
    IS_BOOKED_BY_HAND,
    accounts,
    balances,
    ledger_entries,
    requests,
    unfiled_requests,
    usage_buckets,
)
from tollway.usage.filing import read_log
from tollway.usage.recording import DAY_SECONDS

NEWEST_MAX = 10_000
MINUTES = 60
FAILURES_MAX = 15


class Minute(Struct):
    """The requests that began in one minute, and the tokens that were made for them."""

    start: int
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    completion_tokens: int = 0


class Failure(Struct):
    """One request that failed."""

    created_at: float
    request_id: str
    account_id: str
    account_name: str | None
    model: str
    route: str
    error_code: str | None
    attempts: int


_FAILURE = tuple(name for name in Failure.__struct_fields__ if name != "account_name")


class LedgerTotals(Struct):
    """What the whole ledger adds up to, in credits: `granted + refunded + adjusted - charged == posted`."""

    accounts: int = 0
    posted: int = 0
    held: int = 0
    granted: int = 0
    refunded: int = 0
    adjusted: int = 0
    charged: int = 0
    loss: int = 0

    @property
    def balanced(self) -> bool:
        return self.granted + self.refunded + self.adjusted - self.charged == self.posted


class AccountRow(Struct):
    """An account and what it has, in credits."""

    id: str
    name: str
    posted: int
    held: int
    low_balance_credits: int

    @property
    def available(self) -> int:
        return self.posted - self.held


class Overview(Struct):
    """The installation, as it is now."""

    minutes: list[Minute]
    """The last hour, oldest first."""
    is_cut: bool
    """The hour had more than NEWEST_MAX requests: its beginning is missing."""
    failures: list[Failure]
    """Among the newest requests, newest first."""
    ledger: LedgerTotals


async def overview(database: Database) -> Overview:
    """One snapshot."""

    def work(connection: Connection) -> Overview:
        newest = connection.execute(sa.select(sa.func.max(requests.c.id))).scalar() or 0
        minutes, seen = _minutes(connection, newest)
        return Overview(minutes, seen >= NEWEST_MAX, _failures(connection, newest), _totals(connection))

    return await read_log(database, work)


async def account_rows(database: Database, *, limit: int, after: str = "") -> list[AccountRow]:
    """The accounts by name, those after `after`."""
    columns, amounts = accounts.c, balances.c
    posted, held = (sa.func.coalesce(amounts[name], 0).label(name) for name in ("posted", "held"))
    query = (
        sa.select(columns.id, columns.name, posted, held, columns.low_balance_credits)
        .outerjoin_from(accounts, balances, amounts.account_id == columns.id)
        .where(columns.name > after)
        .order_by(columns.name)
        .limit(limit)
    )
    return await database.read(lambda connection: [AccountRow(*row) for row in connection.execute(query)])


def _minutes(connection: Connection, newest: int) -> tuple[list[Minute], int]:
    columns, last = requests.c, int(clock.now()) // 60 * 60
    first = last - 60 * (MINUTES - 1)
    recent = sa.select(columns.created_at, columns.status, columns.completion_tokens).where(
        columns.id > newest - NEWEST_MAX, columns.created_at >= first
    )
    minutes = {start: Minute(start) for start in range(first, last + 60, 60)}
    rows: Sequence[Any] = connection.execute(recent).all()
    for created_at, status, tokens in rows:
        minute = minutes.get(int(created_at) // 60 * 60)
        if minute is not None:
            setattr(minute, status, getattr(minute, status) + 1)
            minute.completion_tokens += tokens
    return list(minutes.values()), len(rows)


def _failures(connection: Connection, newest: int) -> list[Failure]:
    columns = requests.c
    query = (
        sa.select(*(columns[name] for name in _FAILURE), accounts.c.name.label("account_name"))
        .outerjoin_from(requests, accounts, accounts.c.id == columns.account_id)
        .where(columns.id > newest - NEWEST_MAX, columns.status == "failed")
        .order_by(columns.id.desc())
        .limit(FAILURES_MAX)
    )
    return [Failure(**row) for row in connection.execute(query).mappings()]


def _totals(connection: Connection) -> LedgerTotals:
    def total(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)

    entries, buckets = ledger_entries.c, usage_buckets.c
    count, posted, held = connection.execute(sa.select(sa.func.count(), total(balances.c.posted), total(balances.c.held))).one()
    kinds = sa.select(entries.kind, total(entries.posted)).where(IS_BOOKED_BY_HAND).group_by(entries.kind)
    by_hand: dict[str, int] = {kind: amount for kind, amount in connection.execute(kinds)}  # noqa: C416 - typed so
    whole_days = sa.select(total(buckets.credits), total(buckets.loss)).where(
        buckets.account_id.in_(sa.select(balances.c.account_id)), buckets.key_id == ALL_KEYS, buckets.span == DAY_SECONDS
    )
    filed, loss = connection.execute(whole_days).one()
    # on a busy server something is always settled that is in no sum yet
    charged = filed + connection.execute(sa.select(total(unfiled_requests.c.credits))).scalar_one()
    return LedgerTotals(
        count, posted, held, by_hand.get("grant", 0), by_hand.get("refund", 0), by_hand.get("adjustment", 0), charged, loss
    )
