"""The models endpoints. Public: what is served, and for how much, is the shop window."""

import datetime as dt
import hashlib
from collections.abc import Iterable
from decimal import Decimal

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from tollway import clock
from tollway.api.services import Services
from tollway.api.table import JSON
from tollway.catalog import Model, Price
from tollway.wire.models import (
    DeprecationList,
    Modalities,
    ModelCard,
    ModelDetail,
    ModelInfo,
    ModelItem,
    ModelList,
    PriceUnit,
    Pricing,
)

FILTERS = ("id", "type", "tags", "modalities", "input_modalities", "output_modalities", "capabilities")
SECTIONS = ("pricing", "modalities", "capabilities")

_encode = msgspec.json.Encoder().encode


async def list_models(request: Request, services: Services) -> Response:
    """All models that fit the filters, in the platform's shape."""
    query = _words_by_name(request)
    sections = _sections(query)
    filters = {name: query[name] for name in FILTERS if query.get(name)}
    data = [
        _trimmed(_item(services, model), sections)
        for model in services.catalog.models
        if all(words & _values(services, model, name) for name, words in filters.items())
    ]
    return _cacheable(request, _encode(ModelList(data)), max_age_seconds=60)


async def show_model(request: Request, services: Services) -> Response:
    """One model in OpenAI's shape. Raises ModelNotFound."""
    item = _item(services, services.catalog.get(request.path_params["id"]))
    card = ModelCard(item.id, item.created, item.owned_by, stand_in=item.stand_in, answered_by=item.answered_by)
    return _cacheable(request, _encode(card), max_age_seconds=60)


async def show_model_detail(request: Request, services: Services) -> Response:
    """One model in the platform's shape. Raises ModelNotFound."""
    item = _item(services, services.catalog.get(request.path_params["id"]))
    return _cacheable(request, _encode(ModelDetail(item)), max_age_seconds=60)


async def list_deprecations(request: Request, services: Services) -> Response:  # noqa: ARG001
    """Models that go or are gone: none, so far."""
    deprecations = DeprecationList(generated_at=clock.iso(clock.now()), data=[])
    return _cacheable(request, _encode(deprecations), max_age_seconds=300, tag_of=_encode(deprecations.data))


def _item(services: Services, model: Model) -> ModelItem:
    """Everything about a model. A stand-in is described by what really answers: its context, its abilities, its price."""
    route, answering = services.catalog.answering(model)
    return ModelItem(
        id=model.id,
        aliases=list(model.aliases),
        type=model.type,
        info=ModelInfo(
            name=model.name,
            developer=model.developer,
            description=model.description,
            contextLength=route.context_tokens if route.stand_in else model.context_length,
            outputMax=route.output_max if route.stand_in else model.output_max,
            releasedAt=model.released_at or UNSET,
        ),
        tags=list(model.tags),
        created=_epoch(model.released_at),
        owned_by=model.developer,
        stand_in=True if route.stand_in else UNSET,
        answered_by=route.answers_as if route.stand_in else UNSET,
        modalities=Modalities(input=list(answering.input_modalities), output=list(answering.output_modalities)),
        capabilities=list(answering.capabilities),
        pricing=_pricing(route.price if route.stand_in else model.price, services.settings.markup),
    )


def _pricing(price: Price, markup: str) -> Pricing:
    """What callers pay, markup included; decimal until the last step, and the ledger does not read it from here."""
    return Pricing(
        units=[
            PriceUnit(name=name, measure="token", price=float(Decimal(getattr(price, name)) * Decimal(markup)), per=1_000_000)
            for name in ("prompt", "completion", "cached_prompt", "audio_prompt")
        ]
    )


def _epoch(date: str | None) -> int:
    return int(dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp()) if date else 0


def _words_by_name(request: Request) -> dict[str, set[str]]:
    """Query parameters: separated by commas or repeated, in any case."""
    words: dict[str, set[str]] = {}
    for name, text in request.query_params.multi_items():
        words.setdefault(name, set()).update(word for word in (part.strip().casefold() for part in text.split(",")) if word)
    return words


def _sections(query: dict[str, set[str]]) -> set[str]:
    asked = query.get("include", set())
    if "all" in asked or query.get("details", set()) & {"true", "1"}:
        return set(SECTIONS)
    return asked & set(SECTIONS)


def _trimmed(item: ModelItem, sections: set[str]) -> ModelItem:
    for section in SECTIONS:
        if section not in sections:
            setattr(item, section, UNSET)
    return item


def _values(services: Services, model: Model, name: str) -> set[str]:
    """What a filter is compared with."""
    _, answering = services.catalog.answering(model)
    values: Iterable[str] = {
        "id": (model.id, *model.aliases),
        "type": (model.type,),
        "tags": model.tags,
        "modalities": (*answering.input_modalities, *answering.output_modalities),
        "input_modalities": answering.input_modalities,
        "output_modalities": answering.output_modalities,
        "capabilities": answering.capabilities,
    }[name]
    return {value.casefold() for value in values}


def _cacheable(request: Request, body: bytes, *, max_age_seconds: int, tag_of: bytes | None = None) -> Response:
    """The body with a weak ETag, or 304 when the caller has it already."""
    tag = f'W/"{hashlib.blake2b(body if tag_of is None else tag_of, digest_size=12).hexdigest()}"'
    headers = {"etag": tag, "cache-control": f"max-age={max_age_seconds}"}
    held = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
    if "*" in held or tag.removeprefix("W/") in held:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)
