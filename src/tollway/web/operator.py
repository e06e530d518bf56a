"""The owner's view of the installation: upstreams, engines, how busy it is, what failed, the ledger, the accounts."""

import asyncio
import datetime as dt
import platform

from starlette.responses import Response

from tollway import clock
from tollway.errors import StorageUnavailable
from tollway.usage import overview
from tollway.web import charts, display
from tollway.web.frame import Visit

_ACCOUNTS = 25
_ENGINE_SECONDS = 1.0
STATUSES = ("succeeded", "failed", "cancelled")


async def operator(visit: Visit) -> Response:
    services, after = visit.services, visit.query("after", 100)
    now = clock.now()
    seen = await overview.overview(services.database)
    accounts = await overview.account_rows(services.database, limit=_ACCOUNTS + 1, after=after)
    recent = seen.minutes[-16:-1]  # the current minute has only begun
    seconds = 60 * len(recent)
    return visit.render(
        "operator.html",
        upstreams=sorted(services.upstreams(), key=lambda state: (state.breaker == "closed", state.name)),
        models=_models(visit),
        unserved=services.catalog.unserved,
        engines=await _engines(visit),
        database=await _database(visit),
        software=f"Python {platform.python_version()}",
        started_at=services.started_at,
        workers=services.settings.workers,
        seen=seen,
        chart_data=_chart(seen),
        per_minute=sum(_count(minute) for minute in recent) * 60 / seconds,
        tokens_per_second=sum(minute.completion_tokens for minute in recent) / seconds,
        failed=sum(minute.failed for minute in recent),
        answered=sum(_count(minute) for minute in recent),
        accounts=accounts[:_ACCOUNTS],
        more=accounts[_ACCOUNTS - 1].name if len(accounts) > _ACCOUNTS else None,
        after=after,
        now=now,
    )


def _count(minute: overview.Minute) -> int:
    return minute.succeeded + minute.failed + minute.cancelled


def _chart(seen: overview.Overview) -> charts.Chart:
    labels = [(f"{dt.datetime.fromtimestamp(minute.start, dt.UTC):%H:%M}",) * 2 for minute in seen.minutes]
    values = [{status: getattr(minute, status) for status in STATUSES} for minute in seen.minutes]
    return charts.stacked(
        labels, values, STATUSES, lambda count: display.short_count(round(count)) if count == int(count) else ""
    )


def _models(visit: Visit) -> dict[str, list[str]]:
    """Of each upstream, the public models that it answers for."""
    models: dict[str, set[str]] = {}
    for route in visit.services.catalog.routes:
        models.setdefault(route.upstream.name, set()).add(route.model.id)
    return {name: sorted(of_it) for name, of_it in models.items()}


async def _engines(visit: Visit) -> dict[str, bool] | None:
    """Which engines answer; None = they took too long to say."""
    try:
        async with asyncio.timeout(_ENGINE_SECONDS):
            return await visit.services.engine_health()
    except TimeoutError:
        return None


async def _database(visit: Visit) -> str:
    """What it is and how large."""
    try:
        facts = await visit.services.database.facts()
    except StorageUnavailable:
        return "does not answer"
    return f"{facts.software}, {facts.bytes / 1e6:,.1f} MB"
