"""The usage and log endpoints: what was used in a window, each request, and the receipt of one.

An API key sees its own requests, a management key those of the whole account.
"""

import re
import zoneinfo
from collections.abc import Sequence
from typing import Literal

from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response

from tollway import clock
from tollway.accounts import Caller
from tollway.api import examples
from tollway.api.billing import amount_of
from tollway.api.context import context_of
from tollway.api.patterns import KEY_PREFIX, MODEL_ID, REQUEST_ID, matching
from tollway.api.query import CURSOR, LIMIT, WINDOW, Query, choice, cursor_text
from tollway.api.responses import answer
from tollway.api.routing import responding
from tollway.api.services import Services
from tollway.api.table import JSON, Answer, Auth, Endpoint, Parameter, Tag
from tollway.errors import Forbidden, InvalidRequest, ModelNotFound, NotFound
from tollway.ledger import Entry
from tollway.usage import LogFilter, LogRow, Scope, UsageGroup, Window, time_zones
from tollway.wire.keys import usd_number
from tollway.wire.usage import (
    GroupBy,
    GroupRequests,
    GroupTokens,
    LogItem,
    LogList,
    LogPage,
    LogTokens,
    ModelUsage,
    Receipt,
    ReceiptAnswer,
    ReceiptEntry,
    ReceiptPrice,
    Status,
    UsageAnswer,
    UsageDetailAnswer,
    UsageGroupItem,
)

OFFSET_MAX = 10_000
MODELS_MAX = 50
_PREFIX = Parameter(
    "key_prefix",
    "Only this key. Left out: the calling API key, or with a management key the whole account.",
    schema=matching(KEY_PREFIX),
)
_USAGE = (*WINDOW, _PREFIX)
_DETAIL = (
    *_USAGE,
    choice("group_by", "Add `groups`: a row for each day, each model, or both.", GroupBy),
    Parameter("tz", "Where days begin at midnight: an exact IANA name such as `Europe/Berlin`; default `UTC`."),
)
_LOGS = (
    *WINDOW,
    _PREFIX,
    Parameter(
        "model",
        f"Only this model: its id or an alias. Repeat it for several, up to {MODELS_MAX}.",
        many=True,
        schema=matching(MODEL_ID),
    ),
    choice("status", "Only this outcome. Repeat it for several.", Status, many=True),
    LIMIT,
    Parameter(
        "offset",
        "Rows to skip; for more use `cursor`, which is also faster.",
        schema={"type": "integer", "minimum": 0, "maximum": OFFSET_MAX},
    ),
    CURSOR,
    Parameter(
        "request_id",
        "Only the requests with this request id, inference id or client request id.",
        schema=matching(REQUEST_ID),
    ),
)


async def show_usage(request: Request, services: Services) -> Response:
    query = Query(request, _USAGE)
    window, prefix = query.window(24), query.text("key_prefix")
    total = await services.usage.total(await _scope(request, services, prefix), window)
    start, end = _ends(window)
    return answer(
        UsageAnswer(api_key_prefix=prefix, start=start, end=end, spend=usd_number(total.credits), requests=total.charged)
    )


async def show_usage_detail(request: Request, services: Services) -> Response:
    query = Query(request, _DETAIL)
    window, prefix, group_by = query.window(24), query.text("key_prefix"), query.one_of("group_by", GroupBy)
    tz = _time_zone(query.text("tz"))
    scope = await _scope(request, services, prefix)
    by_day = group_by is not None and "day" in group_by
    # one look for all of it, so that the parts add up to the whole while requests come in
    groups = await services.usage.sums(scope, window, ("day", "model") if by_day else ("model",), tz)
    models = _merged(groups, "model")
    if group_by == "day":
        groups = _merged(groups, "day")
    start, end = _ends(window)
    detail = UsageDetailAnswer(
        api_key_prefix=prefix,
        start=start,
        end=end,
        spend=usd_number(sum(each.credits for each in models)),
        requests=sum(each.charged for each in models),
        models=[
            ModelUsage(each.model or "", usd_number(each.credits), each.charged)
            for each in sorted(models, key=lambda each: (-each.credits, each.model))
        ],
    )
    if group_by is not None:
        detail.groups = [_group(each) for each in groups]
    return answer(detail)


async def list_logs(request: Request, services: Services) -> Response:
    query = Query(request, _LOGS)
    limit, offset, cursor = query.integer("limit", 50, 1, 100), query.integer("offset", 0, 0, OFFSET_MAX), query.cursor()
    if offset and cursor is not None:
        raise InvalidRequest("`offset` cannot be given together with `cursor`.", param="offset")
    models = _models(services, query.many("model", MODELS_MAX, MODEL_ID))
    which = LogFilter(query.window(None), models, query.some_of("status", Status))
    any_id = query.matching("request_id", REQUEST_ID)
    scope = await _scope(request, services, query.text("key_prefix"))
    if any_id is None:
        rows = await services.usage.log(scope, which, limit=limit + 1, before=cursor, offset=offset)
        total = await services.usage.count(scope, which)
    else:
        found = [row for row in await services.usage.find(scope, any_id) if which.fits(row)]
        total = len(found)
        rows = [row for row in found if cursor is None or (row.created_at, row.id) < cursor][offset : offset + limit + 1]
    page, more = rows[:limit], len(rows) > limit
    next_cursor = cursor_text(page[-1].created_at, page[-1].id) if more else None
    return answer(LogList([log_item(row) for row in page], LogPage(limit, offset, total, more, next_cursor)))


async def show_receipt(request: Request, services: Services) -> Response:
    Query(request, ())
    any_id, caller = request.path_params["request_id"], context_of(request.scope).caller
    if re.fullmatch(REQUEST_ID, any_id, re.ASCII) is None:
        raise _no_request()
    receipt = await receipt_of(services, _own(caller), any_id)
    return answer(ReceiptAnswer(receipt))


async def receipt_of(services: Services, scope: Scope, any_id: str) -> Receipt:
    """Of the request that has the id, or of the newest that its caller has given it. Raises NotFound."""
    rows = await services.usage.find(scope, any_id)
    # ours first: callers may give their requests the ids of others
    row = min(rows, key=lambda each: (each.request_id != any_id, each.inference_id != any_id), default=None)
    request_id = any_id if row is None else row.request_id
    entries = [entry for entry in await services.ledger.entries_of(request_id) if _is_of(scope, entry)]
    if row is None and not entries:
        raise _no_request()
    version = row.price_version if row is not None else next((entry.price_version for entry in entries), None)
    terms = None if version is None else await services.usage.price_terms(version)
    return Receipt(
        request_id=request_id,
        request=None if row is None else log_item(row),
        route=None if row is None else row.route,
        attempts=None if row is None else row.attempts,
        flags=[] if row is None or row.flags is None else row.flags.split(","),
        entries=[_entry(entry) for entry in entries],
        price=None if version is None or terms is None else ReceiptPrice(version, Raw(terms.encode())),
    )


def _own(caller: Caller) -> Scope:
    return Scope(caller.account_id, None if caller.management else caller.key_id)


async def _scope(request: Request, services: Services, prefix: str | None) -> Scope:
    """Whose requests are asked for. Raises NotFound, and Forbidden for another key's without a management key."""
    caller = context_of(request.scope).caller
    if prefix is None:
        return _own(caller)
    if caller.management:
        key = await services.accounts.find_key(prefix, account_id=caller.account_id)
        return Scope(caller.account_id, key.id)
    if prefix != caller.key_prefix:
        own = await services.accounts.find_key(caller.key_id, account_id=caller.account_id)
        if prefix not in (own.prefix, own.previous_prefix):
            raise Forbidden(
                "An API key sees what it has used itself; what other keys have used takes a management key. "
                "`tollway keys create --management` makes one.",
                param="key_prefix",
                data={"kind": "err_management_key_required"},
            )
    return _own(caller)


def _is_of(scope: Scope, entry: Entry) -> bool:
    return entry.account_id == scope.account_id and scope.key_id in (None, entry.key_id)


def _ends(window: Window) -> tuple[str, str]:
    assert window.start is not None and window.end is not None  # noqa: S101, PT018 - usage has a default window
    return clock.iso(window.start), clock.iso(window.end)


def _time_zone(name: str | None) -> zoneinfo.ZoneInfo | None:
    if name is None or name == "UTC":
        return None
    if name not in time_zones():
        raise InvalidRequest("`tz` is no IANA time zone: write its exact name, such as Europe/Berlin.", param="tz")
    return zoneinfo.ZoneInfo(name)


def _models(services: Services, names: Sequence[str]) -> list[str]:
    """Ids of models; a name that is no model's now may have been one's then."""
    ids = []
    for name in names:
        try:
            ids.append(services.catalog.get(name).id)
        except ModelNotFound:
            ids.append(name)
    return ids


def _merged(groups: Sequence[UsageGroup], by: Literal["day", "model"]) -> list[UsageGroup]:
    """The sums of each day or model, in the order in which they come."""
    merged: dict[str | None, UsageGroup] = {}
    for group in groups:
        name = getattr(group, by)
        merged.setdefault(name, UsageGroup(**{by: name})).add(group)
    return list(merged.values())


def _group(group: UsageGroup) -> UsageGroupItem:
    return UsageGroupItem(
        day=group.day,
        model=group.model,
        spend=usd_number(group.credits),
        tokens=GroupTokens(group.prompt_tokens, group.completion_tokens, group.prompt_tokens + group.completion_tokens),
        requests=GroupRequests(group.requests, group.charged, group.succeeded, group.failed),
    )


def log_item(row: LogRow) -> LogItem:
    """A row as callers see it."""
    return LogItem(
        created=clock.iso(row.created_at),
        status=row.status,
        origin=row.origin,
        model=row.model,
        cost=amount_of(row.credits),
        tokens=LogTokens(
            row.prompt_tokens,
            row.completion_tokens,
            row.prompt_tokens + row.completion_tokens,
            row.cached_tokens,
            row.reasoning_tokens,
        ),
        request_id=row.request_id,
        inference_id=row.inference_id,
        client_request_id=row.client_request_id,
        finish_reason=row.finish_reason,
        error_code=row.error_code,
        stream=row.stream,
        answered_by=row.answered_by,
        first_token_ms=row.first_token_ms,
        duration_ms=row.duration_ms,
    )


def _entry(entry: Entry) -> ReceiptEntry:
    return ReceiptEntry(
        number=entry.number,
        kind=entry.kind,
        created_at=clock.iso(entry.at),
        posted=entry.posted,
        held=entry.held,
        price_version=entry.price_version,
        note=entry.note,
    )


def _no_request() -> NotFound:
    return NotFound("There is no such request. `GET /v2/logs` lists those that this key may see.", param="request_id")


_OWN = "With an API key, of this key; with a management key, of the whole account or of one key."

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        operation="showUsage",
        method="GET",
        paths=("/v2/usage",),
        handler=responding(show_usage),
        tag=Tag.BILLING,
        summary="Show what was spent in a window",
        description=f"{_OWN} Without a window, of the last 24 hours.",
        auth=Auth.KEY,
        parameters=_USAGE,
        answers=(Answer("The sums.", media={JSON: UsageAnswer}, headers=("cache-control",), examples={JSON: examples.USAGE}),),
        errors=(Forbidden, NotFound),
    ),
    Endpoint(
        operation="showUsageDetail",
        method="GET",
        paths=("/v2/usage/detail",),
        handler=responding(show_usage_detail),
        tag=Tag.BILLING,
        summary="Show what was spent in a window, by model and day",
        description=f"{_OWN} Without a window, of the last 24 hours. Days and models without requests are left out.",
        auth=Auth.KEY,
        parameters=_DETAIL,
        answers=(
            Answer(
                "The sums.",
                media={JSON: UsageDetailAnswer},
                headers=("cache-control",),
                examples={JSON: examples.USAGE_DETAIL},
            ),
        ),
        errors=(Forbidden, NotFound),
    ),
    Endpoint(
        operation="listLogs",
        method="GET",
        paths=("/v2/logs",),
        handler=responding(list_logs),
        tag=Tag.BILLING,
        summary="List the requests, newest first",
        description=f"{_OWN} One row a request that has ended; what was said is not kept.",
        auth=Auth.KEY,
        parameters=_LOGS,
        answers=(
            Answer("One page of requests.", media={JSON: LogList}, headers=("cache-control",), examples={JSON: examples.LOGS}),
        ),
        errors=(Forbidden, NotFound),
    ),
    Endpoint(
        operation="showReceipt",
        method="GET",
        paths=("/v2/logs/{request_id}",),
        handler=responding(show_receipt),
        tag=Tag.BILLING,
        summary="Show the receipt of a request",
        description="Its row of the log, what the ledger says of it, and the price that was in force. Of several requests with "
        "one client request id, the newest.",
        auth=Auth.KEY,
        answers=(
            Answer("The receipt.", media={JSON: ReceiptAnswer}, headers=("cache-control",), examples={JSON: examples.RECEIPT}),
        ),
        errors=(NotFound,),
    ),
)
