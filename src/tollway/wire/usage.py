"""The contract of the usage and log endpoints: the platform's shapes, and beyond them latency, finish reason and receipts."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from tollway.wire.billing import Amount, EntryKind
from tollway.wire.keys import Time, Usd

Status = Literal["succeeded", "failed", "cancelled"]
Origin = Literal["api", "playground"]
GroupBy = Literal["day", "model", "day,model"]
Object = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class UsageAnswer(Struct, kw_only=True):
    """What was spent in a window."""

    api_key_prefix: Annotated[str | None, Meta(description="The `key_prefix` that was asked for.")]
    start: Time
    end: Time
    spend: Usd
    currency: Literal["USD"] = "USD"
    requests: Annotated[int, Meta(description="Requests that were charged.")]


class ModelUsage(Struct):
    """What one model was used for."""

    model: str
    spend: Usd
    requests: Annotated[int, Meta(description="Requests that were charged.")]


class GroupTokens(Struct):
    """Tokens of a group."""

    input: int
    output: int
    total: int


class GroupRequests(Struct):
    """Requests of a group. What has neither succeeded nor failed was cancelled by its caller."""

    total: int
    charged: int
    succeeded: int
    failed: int


class UsageGroupItem(Struct, kw_only=True):
    """One day, one model, or one model on one day."""

    day: Annotated[str | None, Meta(description="Such as `2026-11-23`, in the time zone `tz`; null when not grouped by day.")]
    model: Annotated[str | None, Meta(description="null when not grouped by model.")]
    spend: Usd
    tokens: GroupTokens
    requests: GroupRequests


class UsageDetailAnswer(UsageAnswer, kw_only=True):
    """What was spent in a window, and on what."""

    models: Annotated[list[ModelUsage], Meta(description="Highest spend first.")]
    groups: Annotated[
        list[UsageGroupItem] | UnsetType, Meta(description="With `group_by`: oldest day first, then by the model's name.")
    ] = UNSET


class LatencyMs(Struct):
    """Percentiles, in milliseconds."""

    p50: Annotated[float, Meta(description="Half of the requests took no longer.")]
    p95: Annotated[float, Meta(description="95 % of the requests took no longer.")]


class LatencyFigures(Struct, kw_only=True):
    """How long requests took, from their arrival on."""

    requests: Annotated[int, Meta(description="Those that succeeded.")]
    first_token_ms: Annotated[LatencyMs | None, Meta(description="To the first content; null = no request had any.")]
    duration_ms: Annotated[LatencyMs | None, Meta(description="To the end.")]


class LatencyOfTime(LatencyFigures, kw_only=True):
    """How long the requests of one hour or day took."""

    start: Time


class LatencyOfModel(LatencyFigures, kw_only=True):
    """How long the requests of one model took."""

    model: str


class LatencyAnswer(Struct, kw_only=True):
    """How long requests took, over time and by model."""

    start: Time
    end: Time
    span_seconds: Annotated[int, Meta(description="Of one of `times`: an hour or a day.")]
    model: Annotated[str | None, Meta(description="The `model` that was asked for.")]
    times: Annotated[list[LatencyOfTime], Meta(description="Oldest first.")]
    models: Annotated[list[LatencyOfModel], Meta(description="Those with the most requests first, 50 at the most.")]


class LogTokens(Struct):
    """Tokens of one request."""

    input: int
    output: int
    total: int
    cached: Annotated[int, Meta(description="The part of `input` that was in the prompt cache.")]
    reasoning: Annotated[int, Meta(description="The part of `output` that the model thought.")]


class LogItem(Struct, kw_only=True):
    """One request. What was said is nowhere."""

    created: Time
    status: Annotated[Status, Meta(description="`cancelled` = the caller left before the end; what it got is charged.")]
    origin: Origin
    model: Annotated[str, Meta(description="The model that was asked for.")]
    cost: Amount
    tokens: LogTokens
    request_id: str
    inference_id: str
    client_request_id: str | None
    finish_reason: str | None
    error_code: str | None
    stream: bool
    answered_by: Annotated[str, Meta(description="The model that really answered.")]
    first_token_ms: Annotated[int | None, Meta(description="From the request's arrival to the first content, in milliseconds.")]
    duration_ms: Annotated[int, Meta(description="From the request's arrival to its end, in milliseconds.")]


class LogPage(Struct):
    """Where in the log the page is."""

    limit: int
    offset: int
    total: Annotated[int, Meta(description="Rows that fit, on all pages.")]
    has_more: bool
    next_cursor: Annotated[str | None, Meta(description="Send it as `cursor` to get the next page; null = this is the last.")]


class LogList(Struct):
    """Requests, newest first."""

    data: list[LogItem]
    pagination: LogPage


class ReceiptEntry(Struct, kw_only=True):
    """One line of the ledger."""

    number: Annotated[int, Meta(description="1, 2, 3 ... within the account.")]
    kind: EntryKind
    created_at: Time
    posted: Annotated[int, Meta(description="What it changes of the balance, in credits.")]
    held: Annotated[int, Meta(description="What it changes of the held credits.")]
    price_version: str | None
    note: str | None


class ReceiptPrice(Struct):
    """The terms that were in force."""

    version: str
    terms: Annotated[Object, Meta(description="Prices in US dollars per million tokens, and the markup in millionths.")]


class Receipt(Struct, kw_only=True):
    """Everything that is known of one request."""

    request_id: str
    request: Annotated[LogItem | None, Meta(description="null while it is in work, and when it ended unanswered.")]
    route: Annotated[str | None, Meta(description="The upstream that answered, or was tried last, and its model.")]
    attempts: int | None
    flags: Annotated[list[str], Meta(description="What was wrong with the usage that the upstream reported.")]
    entries: Annotated[list[ReceiptEntry], Meta(description="Of the ledger, in order: the hold, and how it was resolved.")]
    price: ReceiptPrice | None


class ReceiptAnswer(Struct):
    """A receipt."""

    data: Receipt
