"""The contract of the billing endpoints: the platform's shapes, and beyond them what is held and available."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tollway.wire.keys import Time, Usd

Direction = Literal["TOPUP", "CHARGE"]
TransactionType = Literal["PAYMENT", "BONUS", "REFUND", "ADJUSTMENT", "MODEL_USAGE", "CREDITS_EXPIRED", "INIT"]
EntryKind = Literal["hold", "settle", "release", "expire", "grant", "refund", "adjustment"]
BalanceStatus = Literal["current", "low", "exhausted"]

Credits = Annotated[int, Meta(description="In credits: 2,000,000 are one US dollar.")]


class BalanceAnswer(Struct):
    """The account's balance, in credits."""

    balance: Annotated[int, Meta(description="Credits of the account; those that running requests hold are among them.")]
    lowBalance: Annotated[bool, Meta(description="Whether the balance is below the threshold.")]  # noqa: N815
    lowBalanceThreshold: Credits  # noqa: N815
    lastUpdated: Annotated[str, Meta(description="When the balance was read: now. RFC 3339, UTC.")]  # noqa: N815
    autoDebitStatus: Literal["disabled"]  # noqa: N815
    status: Annotated[
        BalanceStatus,
        Meta(description="`low` = below the threshold, `exhausted` = nothing is available."),
    ]
    statusExplanation: str  # noqa: N815
    held: Annotated[int, Meta(description="Credits that running requests hold until it is known what they cost.")]
    available: Annotated[int, Meta(description="`balance` less `held`: what a new request may hold.")]


class BillingAnswer(Struct):
    """The account's balance, in US dollars."""

    current_balance: Usd
    currency: Literal["USD"] = "USD"


class AutoTopUp(Struct):
    """Tollway debits nobody: always off."""

    is_enabled: bool
    threshold: Usd
    amount: Usd
    currency: Literal["USD"] = "USD"


class BillingDetailAnswer(Struct):
    """The account behind the key."""

    user_id: Annotated[str, Meta(description="The account's id.")]
    email: None
    current_balance: Usd
    autotopup_settings: AutoTopUp
    name: Annotated[str, Meta(description="The account's name.")]
    currency: Literal["USD"] = "USD"


class Amount(Struct):
    """An amount of money, never negative."""

    usd: Usd
    credits: int


class Transaction(Struct, kw_only=True):
    """One movement of the balance."""

    created_at: Time
    direction: Annotated[Direction, Meta(description="`TOPUP` = credits came in, `CHARGE` = they went out.")]
    type: Annotated[TransactionType, Meta(description="What caused it.")]
    amount: Amount
    model: str | None
    reference_id: Annotated[str | None, Meta(description="The inference id of what was charged or refunded.")]
    request_id: Annotated[str | None, Meta(description="The request; `GET /v2/logs/{request_id}` is its receipt.")]
    note: str | None


class CursorPage(Struct):
    """Where the next page begins."""

    next_cursor: Annotated[str | None, Meta(description="Send it as `cursor` to get the next page; null = this is the last.")]
    has_more: bool


class TransactionList(Struct):
    """Movements of the balance, newest first."""

    data: list[Transaction]
    pagination: CursorPage
