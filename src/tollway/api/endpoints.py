"""The one table of endpoints. Routing, authentication, `/openapi.json` and the documentation come from it.

Order matters where paths overlap: the first row that fits answers.
"""

import functools

from starlette.requests import Request
from starlette.responses import Response

from tollway.api import billing, chat, examples, health, keys, latency, models, openapi, usage
from tollway.api.patterns import IDEMPOTENCY_KEY, matching
from tollway.api.routing import responding
from tollway.api.services import Services
from tollway.api.table import JSON, Answer, Auth, Endpoint, Parameter, Tag
from tollway.errors import (
    BadGateway,
    Conflict,
    ContextLengthExceeded,
    Forbidden,
    GatewayTimeout,
    ModelNotFound,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    ServiceUnavailable,
    UnprocessableRequest,
    UnsupportedMediaType,
    UnsupportedParameter,
)
from tollway.wire.chat import ChatRequest, Chunk, Completion
from tollway.wire.dry_run import DryRun
from tollway.wire.models import DeprecationList, ModelCard, ModelDetail, ModelList


async def _openapi_json(request: Request, services: Services) -> Response:  # noqa: ARG001
    return Response(_rendered(), media_type=JSON, headers={"cache-control": "max-age=300"})


@functools.cache
def _rendered() -> bytes:
    return openapi.render(ENDPOINTS).encode()


_NOT_MODIFIED = Answer("Nothing has changed since the ETag that was sent.", status=304, headers=("etag", "cache-control"))
_IF_NONE_MATCH = Parameter("If-None-Match", "ETag of the answer that you hold.", place="header")

_MODEL_FILTERS = (
    Parameter("id", "Ids or aliases to keep.", many=True),
    Parameter("type", "Types to keep, such as `openai/chat-completions`.", many=True),
    Parameter("tags", "Keep models with any of these tags.", many=True),
    Parameter("modalities", "Keep models with any of these as input or output.", many=True),
    Parameter("input_modalities", "Keep models that take any of these.", many=True),
    Parameter("output_modalities", "Keep models that make any of these.", many=True),
    Parameter("capabilities", "Keep models with any of these.", many=True),
    Parameter("include", "Sections to add: `pricing`, `modalities`, `capabilities`, or `all`.", many=True),
    Parameter("details", "`true` or `1`: add all sections."),
)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        operation="createChatCompletion",
        method="POST",
        paths=("/v1/chat/completions", "/chat/completions"),
        handler=chat.chat_completions,
        sessions=True,
        tag=Tag.CHAT,
        summary="Answer a conversation",
        description="With `stream: true` the answer comes as server-sent events: chunks, and `[DONE]` at the end.",
        parameters=(
            Parameter(
                "Idempotency-Key",
                "Makes it safe to send a request again: for 24 hours the same key and body get the same answer, made and "
                "charged once.",
                place="header",
                schema=matching(IDEMPOTENCY_KEY),
            ),
            Parameter(
                "x-tollway-dry-run",
                "`true`: answers with the most that the request could cost. Nothing is made or charged.",
                place="header",
                schema={"type": "string", "enum": ["true", "false"]},
            ),
        ),
        auth=Auth.KEY,
        request=ChatRequest,
        request_example=examples.CHAT_REQUEST,
        answers=(
            Answer(
                "The answer, whole or as a stream of chunks; of a dry run, what it could cost.",
                media={JSON: (Completion, DryRun), openapi.EVENT_STREAM: Chunk},
                headers=(
                    "x-inference-id",
                    "x-tollway-credits-used",
                    "x-tollway-usd-spent",
                    "x-tollway-ignored-parameters",
                    "x-tollway-route",
                    "x-tollway-stand-in",
                    "x-tollway-idempotent-replayed",
                    *openapi.RATE_LIMITS,
                ),
                examples={JSON: examples.COMPLETION, openapi.EVENT_STREAM: examples.CHUNK},
            ),
        ),
        errors=(
            UnsupportedParameter,
            ContextLengthExceeded,
            Forbidden,
            ModelNotFound,
            Conflict,
            UnprocessableRequest,
            PayloadTooLarge,
            RequestTimeout,
            UnsupportedMediaType,
            RateLimited,
            BadGateway,
            ServiceUnavailable,
            GatewayTimeout,
        ),
    ),
    Endpoint(
        operation="listModels",
        method="GET",
        paths=("/v1/models", "/models", "/api/v1/models"),
        handler=responding(models.list_models),
        tag=Tag.MODELS,
        summary="List the models",
        description="Filters take several values, separated by commas or repeated: one of them must fit; all filters must fit.",
        auth=Auth.NONE,
        parameters=(*_MODEL_FILTERS, _IF_NONE_MATCH),
        answers=(
            Answer("The models that fit.", media={JSON: ModelList}, headers=("etag", "cache-control")),
            _NOT_MODIFIED,
        ),
    ),
    Endpoint(
        operation="listModelDeprecations",
        method="GET",
        paths=("/v1/models/deprecations",),
        handler=responding(models.list_deprecations),
        tag=Tag.MODELS,
        summary="List the models that go or are gone",
        auth=Auth.NONE,
        parameters=(
            Parameter("status", "Statuses to keep: `deprecated`, `superseded`, `withdrawn`.", many=True),
            Parameter("since", "Keep what was announced at or after this date."),
            _IF_NONE_MATCH,
        ),
        answers=(
            Answer("The deprecations.", media={JSON: DeprecationList}, headers=("etag", "cache-control")),
            _NOT_MODIFIED,
        ),
    ),
    Endpoint(
        operation="retrieveModel",
        method="GET",
        paths=("/v1/models/{id:path}", "/models/{id:path}", "/api/v1/models/{id:path}"),
        handler=responding(models.show_model),
        tag=Tag.MODELS,
        summary="Show a model, in OpenAI's shape",
        auth=Auth.NONE,
        parameters=(_IF_NONE_MATCH,),
        answers=(
            Answer("The model.", media={JSON: ModelCard}, headers=("etag", "cache-control")),
            _NOT_MODIFIED,
        ),
        errors=(ModelNotFound,),
    ),
    Endpoint(
        operation="showModel",
        method="GET",
        paths=("/model/{id:path}",),
        handler=responding(models.show_model_detail),
        tag=Tag.MODELS,
        summary="Show a model, with everything",
        auth=Auth.NONE,
        parameters=(_IF_NONE_MATCH,),
        answers=(
            Answer("The model.", media={JSON: ModelDetail}, headers=("etag", "cache-control")),
            _NOT_MODIFIED,
        ),
        errors=(ModelNotFound,),
    ),
    *keys.ENDPOINTS,
    *billing.ENDPOINTS,
    *usage.ENDPOINTS,
    *latency.ENDPOINTS,
    Endpoint(
        operation="healthz",
        method="GET",
        paths=("/healthz",),
        handler=responding(health.healthz),
        tag=Tag.OPERATIONS,
        summary="Is the process alive?",
        auth=Auth.NONE,
        answers=(Answer("It is.", media={JSON: health.Health}),),
    ),
    Endpoint(
        operation="readyz",
        method="GET",
        paths=("/readyz",),
        handler=responding(health.readyz),
        tag=Tag.OPERATIONS,
        summary="Can requests be answered?",
        auth=Auth.NONE,
        answers=(
            Answer("They can.", media={JSON: health.Readiness}),
            Answer("They cannot; `checks` says what is missing.", media={JSON: health.Readiness}, status=503),
        ),
    ),
    Endpoint(
        operation="metrics",
        method="GET",
        paths=("/metrics",),
        handler=responding(health.metrics),
        tag=Tag.OPERATIONS,
        summary="Counters for Prometheus",
        auth=Auth.NONE,
        answers=(Answer("The Prometheus text format.", media={"text/plain": str}),),
    ),
    Endpoint(
        operation="openapi",
        method="GET",
        paths=("/openapi.json",),
        handler=responding(_openapi_json),
        tag=Tag.MODELS,
        summary="This document",
        auth=Auth.NONE,
        answers=(Answer("OpenAPI 3.1.", media={JSON: dict}),),
    ),
)
