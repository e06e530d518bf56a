"""The receipt of one request: what happened when, what it cost, and why."""

import msgspec
from msgspec import Struct
from starlette.responses import Response

from tollway.catalog import Price
from tollway.errors import NotFound
from tollway.ledger import RESOLUTIONS, Entry
from tollway.metering import credits_for, tariff_of
from tollway.usage import LogRow, Scope
from tollway.usage.queries import FOUND_MAX
from tollway.web.frame import Visit
from tollway.web.logs import ANY_ID, key_names
from tollway.wire.chat import PromptTokensDetails, Usage

FLAGS = {
    "usage_missing": "The upstream reported no usage; it was estimated.",
    "above_hold": "It cost more than was held; what is above was not charged.",
    "cached_above_prompt": "The upstream reported more cached tokens than there were in the prompt; they were cut.",
}
"""What was wrong with the usage that an upstream reported, in words."""
_UNUSABLE = "_unusable"


class Event(Struct):
    """One moment of a request, in milliseconds since the first one."""

    at: int
    title: str
    detail: str = ""
    credits: int | None = None


class Line(Struct):
    """One part of the price: tokens at a rate."""

    what: str
    tokens: int
    usd_per_million: str
    credits: int


class Terms(Struct):
    """As `metering` writes them down."""

    price: Price
    markup_millionths: int


async def receipt(visit: Visit) -> Response:
    any_id: str = visit.request.path_params.get("id") or visit.query("id")
    if not ANY_ID.fullmatch(any_id):
        raise _nothing()
    services, scope = visit.services, Scope(visit.account_id)
    rows = await services.usage.find(scope, any_id)
    if len(rows) > 1:
        names = await key_names(visit, rows)
        return visit.render("several.html", rows=rows, names=names, any_id=any_id, is_cut=len(rows) == FOUND_MAX)
    row = rows[0] if rows else None
    entries = await services.ledger.entries_of(row.request_id if row else any_id)
    entries = [entry for entry in entries if entry.account_id == visit.account_id]
    if row is None and not any(entry.kind == "hold" for entry in entries):
        raise _nothing()
    version = row.price_version if row else entries[0].price_version
    written = await services.usage.price_terms(version) if version else None
    terms = None if written is None else msgspec.json.decode(written, type=Terms)
    key_id = row.key_id if row else entries[0].key_id
    names = await services.usage.key_names(visit.account_id, [key_id] if key_id else [])
    return visit.render(
        "receipt.html",
        row=row,
        request_id=row.request_id if row else any_id,
        entries=entries,
        events=_events(row, entries),
        bands=_bands(row, entries),
        key_id=key_id,
        key_name=names.get(key_id or ""),
        price_version=version,
        lines=_lines(row, terms),
        markup=_markup(terms),
        flags=[_in_words(flag) for flag in (row.flags or "").split(",") if flag] if row else [],
        is_running=row is None and not any(entry.kind in RESOLUTIONS for entry in entries),
    )


def _in_words(flag: str) -> str:
    if flag.endswith(_UNUSABLE):
        figures = flag.removesuffix(_UNUSABLE).replace("_", " ")
        return f"The upstream reported {figures} that cannot be; they were estimated or cut."
    return FLAGS.get(flag, flag.replace("_", " "))


def _events(row: LogRow | None, entries: list[Entry]) -> list[Event]:
    """In order, from the hold to the last entry of the ledger."""
    start = _start(row, entries)
    events = []
    for entry in entries:
        at = round(1000 * (entry.at - start))
        match entry.kind:
            case "hold":
                events.append(Event(at, "Held", "The most that it could cost was set aside.", entry.held))
            case "settle":
                events.append(Event(at, "Charged", "What it cost; the rest of the hold was given back.", -entry.posted))
            case "refund":
                events.append(Event(at, "Refunded", entry.note or "", entry.posted))
            case "expire":
                events.append(Event(at, "Given back", "Its process ended before it was charged.", 0))
            case _:
                events.append(Event(at, "Given back", "Nothing was charged.", 0))
    if row is not None:
        began = round(1000 * (row.created_at - start))
        events.append(Event(began, "Asked", f"{row.route}{f', attempt {row.attempts}' if row.attempts > 1 else ''}"))
        if row.first_token_ms is not None:
            events.append(Event(began + row.first_token_ms, "First token"))
        ended = {"succeeded": "Answered", "failed": "Failed", "cancelled": "Cancelled by the caller"}[row.status]
        events.append(Event(began + row.duration_ms, ended, row.finish_reason or row.error_code or ""))
    order = ("Held", "Asked", "First token", "Answered", "Failed", "Cancelled by the caller")
    return sorted(events, key=lambda event: (event.at, order.index(event.title) if event.title in order else len(order)))


def _bands(row: LogRow | None, entries: list[Entry]) -> list[tuple[str, float, float]]:
    """The same as a bar: what, from and width in percent of the whole."""
    if row is None or row.duration_ms <= 0:
        return []
    before = 1000 * (row.created_at - _start(row, entries))
    first = row.duration_ms if row.first_token_ms is None else row.first_token_ms
    whole = before + row.duration_ms
    return [
        (what, round(100 * begin / whole, 3), round(100 * (end - begin) / whole, 3))
        for what, begin, end in (
            ("held", 0.0, before),
            ("waiting", before, before + first),
            ("answering", before + first, whole),
        )
        if end > begin
    ]


def _start(row: LogRow | None, entries: list[Entry]) -> float:
    moments = [entry.at for entry in entries if entry.kind == "hold"] + ([row.created_at] if row else [])
    return min(moments)


def _lines(row: LogRow | None, terms: Terms | None) -> list[Line]:
    """What the tokens cost by the terms that were in force; empty where it cost nothing or they are not known."""
    if row is None or terms is None or not row.credits:
        return []
    price, tariff = terms.price, tariff_of(terms.price, terms.markup_millionths)
    cached = min(row.cached_tokens, row.prompt_tokens)
    details = PromptTokensDetails(cached_tokens=cached)
    parts = (
        ("Prompt", row.prompt_tokens - cached, price.prompt, Usage(row.prompt_tokens - cached, 0, 0)),
        ("Prompt, from the cache", cached, price.cached_prompt, Usage(cached, 0, 0, prompt_tokens_details=details)),
        ("Completion", row.completion_tokens, price.completion, Usage(0, row.completion_tokens, 0)),
    )
    return [Line(what, tokens, rate, credits_for(usage, tariff)) for what, tokens, rate, usage in parts if tokens]


def _markup(terms: Terms | None) -> str:
    """Such as `1.25`; empty when there is none."""
    millionths = terms.markup_millionths if terms else 1_000_000
    return "" if millionths == 1_000_000 else f"{millionths / 1_000_000:.10g}"


def _nothing() -> NotFound:
    return NotFound("This account has no request with such an id. Look at the list of requests.")
