"""The billing endpoints: what the account has, and what moved it.

The balance is the account's, whatever key asks. Of the movements an API key sees those that it caused.
"""

from starlette.requests import Request
from starlette.responses import Response

from tollway import clock
from tollway.api import examples
from tollway.api.context import context_of
from tollway.api.query import CURSOR, LIMIT, Query, choice, cursor_text, moment
from tollway.api.responses import answer
from tollway.api.routing import responding
from tollway.api.services import Services
from tollway.api.table import JSON, Answer, Auth, Endpoint, Tag
from tollway.errors import InvalidRequest
from tollway.ledger import Entry, transaction_type
from tollway.wire.billing import (
    Amount,
    AutoTopUp,
    BalanceAnswer,
    BalanceStatus,
    BillingAnswer,
    BillingDetailAnswer,
    CursorPage,
    Direction,
    Transaction,
    TransactionList,
    TransactionType,
)
from tollway.wire.keys import usd_number

_EXPLAINED: dict[BalanceStatus, str] = {
    "current": "Balance is current and up to date",
    "low": "The balance is below its threshold: add credits soon",
    "exhausted": "No credits are available: add credits to go on",
}
_TRANSACTIONS = (
    moment("from", "Movements at or after this time: ISO 8601 with its offset."),
    moment("to", "Movements before this time: ISO 8601 with its offset."),
    choice("direction", "Only credits that came in, or only credits that went out.", Direction),
    choice("type", "Only movements of this cause.", TransactionType),
    LIMIT,
    CURSOR,
)


async def show_balance(request: Request, services: Services) -> Response:
    Query(request, ())
    account_id = context_of(request.scope).caller.account_id
    account = await services.accounts.find_account(account_id)
    balance = await services.ledger.balance(account_id)
    is_low = account.is_low(balance.posted)
    status: BalanceStatus = "exhausted" if balance.available <= 0 else "low" if is_low else "current"
    return answer(
        BalanceAnswer(
            balance=balance.posted,
            lowBalance=is_low,
            lowBalanceThreshold=account.low_balance_credits,
            lastUpdated=clock.iso(clock.now()),
            autoDebitStatus="disabled",
            status=status,
            statusExplanation=_EXPLAINED[status],
            held=balance.held,
            available=balance.available,
        )
    )


async def show_billing(request: Request, services: Services) -> Response:
    Query(request, ())
    balance = await services.ledger.balance(context_of(request.scope).caller.account_id)
    return answer(BillingAnswer(usd_number(balance.posted)))


async def show_billing_detail(request: Request, services: Services) -> Response:
    Query(request, ())
    caller = context_of(request.scope).caller
    balance = await services.ledger.balance(caller.account_id)
    never = AutoTopUp(False, usd_number(0), usd_number(0))
    detail = BillingDetailAnswer(caller.account_id, None, usd_number(balance.posted), never, caller.account_name)
    return answer(detail)


async def list_transactions(request: Request, services: Services) -> Response:
    query, caller = Query(request, _TRANSACTIONS), context_of(request.scope).caller
    since, until = query.moment("from", with_offset=True), query.moment("to", with_offset=True)
    if since is not None and until is not None and until <= since:
        raise InvalidRequest("`to` must be later than `from`.", param="to")
    limit = query.integer("limit", 50, 1, 100)
    entries = await services.ledger.transactions(
        caller.account_id,
        key_id=None if caller.management else caller.key_id,
        since=since,
        until=until,
        direction=query.one_of("direction", Direction),
        kind=query.one_of("type", TransactionType),
        limit=limit + 1,
        before=query.cursor(),
    )
    page, more = entries[:limit], len(entries) > limit
    cursor = cursor_text(page[-1].at, page[-1].number) if more else None
    return answer(TransactionList([transaction_of(entry) for entry in page], CursorPage(cursor, more)))


def transaction_of(entry: Entry) -> Transaction:
    """An entry in the platform's words."""
    of_a_request = entry.kind in ("settle", "refund")
    return Transaction(
        created_at=clock.iso(entry.at),
        direction="TOPUP" if entry.posted > 0 else "CHARGE",
        type=transaction_type(entry),
        amount=amount_of(abs(entry.posted)),
        model=entry.model,
        reference_id=entry.reference if of_a_request else None,
        request_id=entry.request_id if of_a_request else None,
        note=entry.note,
    )


def amount_of(credits_moved: int) -> Amount:
    return Amount(usd_number(credits_moved), credits_moved)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        operation="showBalance",
        method="GET",
        paths=("/v1/billing/balance",),
        handler=responding(show_balance),
        tag=Tag.BILLING,
        summary="Show the balance in credits",
        description="The balance is the account's: all its keys spend from it.",
        auth=Auth.KEY,
        answers=(
            Answer(
                "The balance.",
                media={JSON: BalanceAnswer},
                headers=("cache-control",),
                examples={JSON: examples.BALANCE},
            ),
        ),
    ),
    Endpoint(
        operation="showBilling",
        method="GET",
        paths=("/v2/billing",),
        handler=responding(show_billing),
        tag=Tag.BILLING,
        summary="Show the balance in US dollars",
        auth=Auth.KEY,
        answers=(Answer("The balance.", media={JSON: BillingAnswer}, headers=("cache-control",)),),
    ),
    Endpoint(
        operation="showBillingDetail",
        method="GET",
        paths=("/v2/billing/detail",),
        handler=responding(show_billing_detail),
        tag=Tag.BILLING,
        summary="Show the account behind the key",
        auth=Auth.KEY,
        answers=(Answer("The account.", media={JSON: BillingDetailAnswer}, headers=("cache-control",)),),
    ),
    Endpoint(
        operation="listTransactions",
        method="GET",
        paths=("/v2/billing/transactions",),
        handler=responding(list_transactions),
        tag=Tag.BILLING,
        summary="List what moved the balance, newest first",
        description="With an API key, what this key has caused; with a management key, everything of the account.",
        auth=Auth.KEY,
        parameters=_TRANSACTIONS,
        answers=(
            Answer(
                "One page of movements.",
                media={JSON: TransactionList},
                headers=("cache-control",),
                examples={JSON: examples.TRANSACTIONS},
            ),
        ),
    ),
)
