"""The latency endpoint: how long the account's requests took, over time and by model."""

from typing import Literal, get_args

from starlette.requests import Request
from starlette.responses import Response

from tollway import clock
from tollway.api import examples
from tollway.api.context import context_of
from tollway.api.patterns import MODEL_ID, matching
from tollway.api.query import Query, choice
from tollway.api.responses import answer
from tollway.api.routing import responding
from tollway.api.services import Services
from tollway.api.table import JSON, Answer, Auth, Endpoint, Parameter, Tag
from tollway.errors import Forbidden
from tollway.storage.tables import ALL_MODELS
from tollway.usage.latency import Latency, Percentiles, latency_since
from tollway.usage.queries import Scope
from tollway.usage.since import RANGES, starts_of, sums_since
from tollway.wire.usage import LatencyAnswer, LatencyMs, LatencyOfModel, LatencyOfTime

MODELS_MAX = 50
Period = Literal["24h", "7d", "30d", "90d"]
_LATENCY = (
    choice("period", "How far back; `24h` by the hour, all others by the day. Default `24h`.", Period),
    Parameter("model", "Only this model: its id.", schema=matching(MODEL_ID)),
)


async def show_latency(request: Request, services: Services) -> Response:
    caller = context_of(request.scope).caller
    query = Query(request, _LATENCY)
    period, model = query.one_of("period", Period) or get_args(Period)[0], query.matching("model", MODEL_ID)
    database, account_id, (span, _), starts = services.database, caller.account_id, RANGES[period], starts_of(period)
    if model is None:
        used = await sums_since(database, Scope(account_id), starts[0], span, ("model",))
        models = [part.model for part in sorted(used, key=lambda part: (-part.requests, part.model))[:MODELS_MAX]]
    else:
        models = [model]
    by_time = await latency_since(database, account_id, starts[0], span, by="bucket", models=[model or ALL_MODELS])
    by_model = await latency_since(database, account_id, starts[0], span, by="model", models=models)
    return answer(
        LatencyAnswer(
            start=clock.iso(starts[0]),
            end=clock.iso(starts[-1] + span),
            span_seconds=span,
            model=model,
            times=[_of_time(start, by_time[start]) for start in starts if start in by_time],
            models=[_of_model(each, by_model[each]) for each in models if each in by_model],
        )
    )


def _of_time(start: int, latency: Latency) -> LatencyOfTime:
    first, whole = _ms(latency.first_token), _ms(latency.duration)
    return LatencyOfTime(start=clock.iso(start), requests=latency.requests, first_token_ms=first, duration_ms=whole)


def _of_model(model: str, latency: Latency) -> LatencyOfModel:
    first, whole = _ms(latency.first_token), _ms(latency.duration)
    return LatencyOfModel(model=model, requests=latency.requests, first_token_ms=first, duration_ms=whole)


def _ms(found: Percentiles | None) -> LatencyMs | None:
    return None if found is None else LatencyMs(round(found.p50, 1), round(found.p95, 1))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        operation="showLatency",
        method="GET",
        paths=("/v2/usage/latency",),
        handler=responding(show_latency),
        tag=Tag.BILLING,
        summary="Show how long requests took, over time and by model",
        description="Of the account's requests that succeeded: within how many milliseconds half of them and 95 % of them had "
        "their first token, and their end. Percentiles are off by a few percent at the most, and a few seconds late. Hours and "
        "days are in UTC; those without requests are left out.",
        auth=Auth.MANAGEMENT,
        parameters=_LATENCY,
        answers=(
            Answer(
                "The percentiles.",
                media={JSON: LatencyAnswer},
                headers=("cache-control",),
                examples={JSON: examples.LATENCY},
            ),
        ),
        errors=(Forbidden,),
    ),
)
