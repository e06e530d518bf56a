"""What an account has, and what moved it: page by page, or all of it as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any, get_args

from starlette.responses import Response, StreamingResponse

from tollway import clock
from tollway.api.billing import transaction_of
from tollway.api.query import cursor_text
from tollway.errors import InvalidRequest
from tollway.ledger import Entry, transaction_type
from tollway.money import exact_usd
from tollway.web.filters import Filters, typed
from tollway.web.frame import SECURITY_HEADERS, Visit
from tollway.wire.billing import Direction, TransactionType

PAGE_ROWS = 50
_EXPORT_ROWS = 1000
_NAMES = ("type", "direction", "from", "to")
TYPES: dict[TransactionType, str] = {
    "MODEL_USAGE": "Model usage",
    "PAYMENT": "Payment",
    "BONUS": "Bonus",
    "INIT": "First grant",
    "REFUND": "Refund",
    "ADJUSTMENT": "Adjustment",
}
"""Of the kinds of movements that there are, their names."""
_COLUMNS = ("time", "type", "direction", "usd", "credits", "model", "key", "request_id", "inference_id", "note")


async def billing(visit: Visit) -> Response:
    try:
        filters = Filters(visit, *_NAMES)
        wanted = _wanted(filters)
        before = filters.cursor()
    except InvalidRequest as error:
        return await _page(visit, [], typed(visit, _NAMES), error=error)
    entries = await visit.services.ledger.transactions(visit.account_id, **wanted, limit=PAGE_ROWS + 1, before=before)
    page = entries[:PAGE_ROWS]
    older = filters.link(cursor=cursor_text(page[-1].at, page[-1].number)) if len(entries) > PAGE_ROWS else None
    return await _page(visit, page, filters.given, older=older, is_first=before is None, export=filters.link())


async def export(visit: Visit) -> Response:
    """All that fits the filters, as it is read: memory does not grow with it."""
    wanted = _wanted(Filters(visit, *_NAMES))
    day = clock.iso(clock.now())[:10]
    headers = SECURITY_HEADERS | {
        "content-disposition": f'attachment; filename="tollway-transactions-{day}.csv"',
        "cache-control": "no-store",
    }
    return StreamingResponse(_csv(visit, wanted), media_type="text/csv", headers=headers)


async def _csv(visit: Visit, wanted: dict[str, Any]) -> AsyncIterator[str]:
    yield _lines([_COLUMNS])
    before = None
    names: dict[str, str] = {}
    while True:
        entries = await visit.services.ledger.transactions(visit.account_id, **wanted, limit=_EXPORT_ROWS, before=before)
        unknown = {entry.key_id for entry in entries if entry.key_id} - names.keys()
        if unknown:
            names |= await visit.services.usage.key_names(visit.account_id, unknown)
        if entries:
            yield _lines([_line(entry, names) for entry in entries])
        if len(entries) < _EXPORT_ROWS:
            return
        before = (entries[-1].at, entries[-1].number)


def _line(entry: Entry, names: dict[str, str]) -> tuple[str, ...]:
    told = transaction_of(entry)
    return (
        told.created_at,
        told.type,
        told.direction,
        exact_usd(entry.posted),
        str(entry.posted),
        _plain(told.model),
        _plain(names.get(entry.key_id or "")),
        told.request_id or "",
        _plain(told.reference_id),
        _plain(told.note),
    )


def _plain(text: str | None) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text or ""


def _lines(rows: list[tuple[str, ...]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()


def _wanted(filters: Filters) -> dict[str, Any]:
    since, until = filters.times()
    return {
        "since": since,
        "until": until,
        "direction": filters.one_of("direction", Direction),
        "kind": filters.one_of("type", TransactionType),
    }


async def _page(
    visit: Visit,
    entries: list[Entry],
    given: dict[str, str],
    *,
    older: str | None = None,
    is_first: bool = True,
    export: str = "?",
    error: InvalidRequest | None = None,
) -> Response:
    services = visit.services
    names = await services.usage.key_names(visit.account_id, {entry.key_id for entry in entries if entry.key_id})
    return visit.render(
        "billing.html",
        balance=await services.ledger.balance(visit.account_id),
        account=await services.accounts.find_account(visit.account_id),
        rows=[(entry, transaction_type(entry), names.get(entry.key_id or "")) for entry in entries],
        types=TYPES,
        directions=get_args(Direction),
        given=given,
        older=older,
        is_first=is_first,
        export=export,
        error=error,
    )
