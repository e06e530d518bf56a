"""The request log: page by page, filtered, found by any id, and as it grows."""

import re
from collections.abc import Sequence
from typing import Any, get_args
from urllib.parse import quote

from starlette.responses import Response

from tollway import clock
from tollway.api.query import cursor_text
from tollway.errors import InvalidRequest
from tollway.usage import LogFilter, LogRow, Scope, Status, Window
from tollway.usage.recording import DAY_SECONDS
from tollway.usage.since import sums_since
from tollway.web.filters import Filters, typed
from tollway.web.frame import Visit
from tollway.web.usage import key_name

PAGE_ROWS = 50
_CHOICES_MAX = 40
_CHOICES_DAYS = 90
_NAMES = ("id", "model", "key", "status", "from", "to")
_AFTER = re.compile(r"[0-9]{1,15}")
ANY_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


async def log(visit: Visit) -> Response:
    try:
        filters = Filters(visit, *_NAMES)
        if filters.text("id"):
            return _by_id(visit, filters.text("id"))
        scope, which = _wanted(visit, filters)
        before = filters.cursor()
    except InvalidRequest as error:
        return await _page(visit, [], typed(visit, _NAMES), error=error)
    rows = await visit.services.usage.log(scope, which, limit=PAGE_ROWS + 1, before=before)
    page = rows[:PAGE_ROWS]
    older = filters.link(cursor=cursor_text(page[-1].created_at, page[-1].id)) if len(rows) > PAGE_ROWS else None
    return await _page(visit, page, filters.given, older=older, is_first=before is None, query=filters.link())


async def fresh(visit: Visit) -> Response:
    """The rows that were written since the last look, for the page's script: HTML of rows, newest first."""
    filters = Filters(visit, *_NAMES, "after")
    scope, which = _wanted(visit, filters)
    after = filters.text("after")
    if not _AFTER.fullmatch(after):
        raise InvalidRequest("`after` is the number of a row.", param="after")
    rows, newest = await visit.services.usage.written_since(scope, int(after))
    rows = [row for row in rows if which.fits(row)]
    response = visit.render("log_rows.html", rows=rows, names=await key_names(visit, rows))
    response.headers["x-newest"] = str(newest)
    return response


def _by_id(visit: Visit, any_id: str) -> Response:
    if not ANY_ID.fullmatch(any_id):
        raise InvalidRequest("An id has letters, digits and `. _ : -`, at most 128 of them.", param="id")
    # not as a part of the path, where `new` and `..` mean something else
    return visit.redirect(f"/usage/receipt?id={quote(any_id, safe='')}")


def _wanted(visit: Visit, filters: Filters) -> tuple[Scope, LogFilter]:
    status: Status | None = filters.one_of("status", Status)
    model = filters.text("model")
    which = LogFilter(Window(*filters.times()), [model] if model else (), [status] if status else ())
    return Scope(visit.account_id, filters.text("key") or None), which


async def key_names(visit: Visit, rows: Sequence[LogRow]) -> dict[str, str]:
    """Of each row's key, what people call it; a row without one is called by the empty id."""
    names = await visit.services.usage.key_names(visit.account_id, {row.key_id for row in rows if row.key_id})
    return {row.key_id or "": key_name(names, row.key_id) for row in rows}


async def _page(
    visit: Visit,
    rows: list[LogRow],
    given: dict[str, str],
    *,
    older: str | None = None,
    is_first: bool = True,
    query: str = "?",
    error: InvalidRequest | None = None,
) -> Response:
    return visit.render(
        "requests.html",
        rows=rows,
        names=await key_names(visit, rows),
        choices=await _choices(visit, given),
        statuses=get_args(Status),
        given=given,
        older=older,
        is_first=is_first,
        query=query,
        # rows come in the order of their beginning, so any of the newest may be the one that was written last
        after=max((row.id for row in rows), default=0),
        error=error,
    )


async def _choices(visit: Visit, given: dict[str, str]) -> dict[str, Any]:
    """The models and keys to choose from: the models used of late, the newest keys, and those that are chosen."""
    services, scope = visit.services, Scope(visit.account_id)
    first = int(clock.now()) // DAY_SECONDS * DAY_SECONDS - _CHOICES_DAYS * DAY_SECONDS
    by_model = await sums_since(services.database, scope, first, DAY_SECONDS, ("model",))
    models = {part.model for part in sorted(by_model, key=lambda part: -part.requests)[:_CHOICES_MAX]}
    keys = await services.usage.newest_keys(visit.account_id, _CHOICES_MAX)
    if given.get("key") and given["key"] not in keys:
        keys |= await services.usage.key_names(visit.account_id, [given["key"]])
    if given.get("model"):
        models.add(given["model"])
    return {"models": sorted(models), "keys": sorted(keys.items(), key=lambda item: item[1])}
