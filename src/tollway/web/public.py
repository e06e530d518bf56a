"""The pages that anybody may see: start, catalogue, documentation, search."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
from markupsafe import Markup
from msgspec import Struct
from starlette.responses import Response

from tollway.api import examples
from tollway.api.services import Services
from tollway.catalog import Model, Price, Route
from tollway.errors import NotFound
from tollway.web import dialects, docs, markup, search
from tollway.web.dialects import Dialect
from tollway.web.frame import Visit
from tollway.web.schema_tree import tree

_PRICE_NAMES = {
    "prompt": "Prompt",
    "completion": "Completion",
    "cached_prompt": "Cached prompt",
    "audio_prompt": "Audio prompt",
}


class Health(Struct):
    """How the routes of a model do."""

    word: str
    routes: int
    left_alone: int
    """Routes that failed so often that they are not asked for a while."""
    first_token_ms: float | None
    """Of the first route, the mean since this process began; None = nothing was measured yet."""


async def start(visit: Visit) -> Response:
    catalog = visit.services.catalog
    rows = [_row(visit.services, model) for model in catalog.models[:6]]
    first = catalog.models[0] if catalog.models else None
    return visit.render(
        "start.html",
        first=rows[0] if rows else None,
        code=_code(visit, first.id) if first else (),
        call=dialects.try_now(first.id) if first else "",
        placeholder=dialects.KEY_PLACEHOLDER,
        models=rows,
        models_count=len(catalog.models),
    )


async def catalog(visit: Visit) -> Response:
    """The models; `q` and `can` narrow them down."""
    wanted, can = visit.query("q").lower(), visit.query("can")
    rows = [_row(visit.services, model) for model in visit.services.catalog.models]
    shown = [
        one
        for one in rows
        if wanted in f"{one['model'].id} {one['model'].name} {one['model'].developer}".lower()
        and (not can or can in one["capabilities"])
    ]
    every = sorted({capability for one in rows for capability in one["capabilities"]})
    return visit.render("catalog.html", rows=shown, total=len(rows), capabilities=every, q=visit.query("q"), can=can)


async def model(visit: Visit) -> Response:
    """One model, laid out as a reference: what it is, the first call, code, schema, prices."""
    found = visit.services.catalog.get(visit.request.path_params["id"])
    return visit.render(
        "model.html",
        row=_row(visit.services, found),
        model=found,
        code=_code(visit, found.id),
        request_tree=tree("ChatRequest"),
        answer_tree=tree("Completion"),
        chunk_tree=tree("Chunk"),
        example=markup.code_block(json.dumps(_example(visit.services, found), indent=2), "json"),
    )


async def docs_home(visit: Visit) -> Response:
    return visit.render("docs_home.html", sections=docs.sections())


async def document(visit: Visit) -> Response:
    """A page of documentation; with `.md` behind its name, as it was written."""
    name: str = visit.request.path_params["name"]
    if name.endswith(".md"):
        found = docs.find(name.removesuffix(".md"))
        return visit.text(docs.markdown_for(found, visit.origin), "text/markdown")
    found = docs.find(name)
    before, after = docs.neighbours(name)
    return visit.render(
        "document.html",
        document=found,
        content=docs.rendered(name, visit.origin),
        sections=docs.sections(),
        before=before,
        after=after,
    )


async def llms(visit: Visit) -> Response:
    return visit.text(docs.llms_txt(visit.origin), "text/plain")


async def find(visit: Visit) -> Response:
    """Search; as JSON for the box that answers while one types."""
    query = visit.query("q")
    hits = search.search(query, visit.services.catalog)
    if visit.query("format") == "json":
        return visit.text(msgspec.json.encode(hits).decode(), "application/json")
    return visit.render("search.html", q=query, hits=hits)


async def robots(visit: Visit) -> Response:
    """Everything public may be indexed; nobody but the operator decides whether the service itself is."""
    return visit.text("User-agent: *\nDisallow: /v1/\nDisallow: /search\n", "text/plain")


async def back(visit: Visit) -> Response:
    """Where only forms are sent to, but whose answer stays in the address line: the page above, which has the form."""
    return visit.redirect(quote(visit.request.url.path.rpartition("/")[0]) or "/")


async def nothing_here(visit: Visit) -> Response:
    raise NotFound(f"There is no page at {visit.request.url.path[:200]}.")


def _row(services: Services, model: Model) -> dict[str, Any]:
    """A model as the pages show it. A stand-in is described by what really answers: its context, its abilities, its price."""
    route, answering = services.catalog.answering(model)
    return {
        "model": model,
        "route": route,
        "capabilities": answering.capabilities,
        "modalities": answering.input_modalities,
        "health": _health(services, services.catalog.resolve(model.id).routes),
        "prices": _prices(route.price if route.stand_in else model.price, services.settings.markup),
    }


def _health(services: Services, routes: Sequence[Route]) -> Health:
    """As this process sees it now. A route that was never asked is taken for one that answers."""
    states = {state.name: state for state in services.upstreams()}
    asked = [states.get(route.upstream.name) for route in routes]
    left_alone = sum(state is not None and state.breaker == "open" for state in asked)
    first_token = asked[0].first_token_seconds if asked[0] is not None else None
    word = "answers" if not left_alone else "fails" if left_alone == len(routes) else "answers in part"
    return Health(word, len(routes), left_alone, None if first_token is None else 1000 * first_token)


def _prices(price: Price, factor: str) -> dict[str, Decimal]:
    """What callers pay in US dollars per million tokens, markup included."""
    return {title: Decimal(getattr(price, name)) * Decimal(factor) for name, title in _PRICE_NAMES.items()}


def _code(visit: Visit, model_id: str) -> list[tuple[Dialect, Markup]]:
    return dialects.blocks(f"{visit.origin}/v1", dialects.first_call(model_id))


def _example(services: Services, model: Model) -> dict[str, Any]:
    """The documented answer, as this model's route signs it."""
    return examples.COMPLETION | {"model": services.catalog.resolve(model.id).routes[0].answers_as}
