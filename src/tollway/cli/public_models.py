"""`tollway models list` and `test`: what callers can ask for, who answers, and whether that works."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Struct, structs
from rich.markup import escape

from tollway.cli.terminal import AsJson, Home, err, fail, out, print_json, settings_in_force
from tollway.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tollway.catalog import Catalog, Plan, Route
    from tollway.engine import EngineEndpoint
    from tollway.providers.routing import Router

_FIRST_TOKEN_SECONDS_MAX = 60.0
_OUTPUT_TOKENS_MAX = 64
_QUESTION = "Say hello."


class Tried(Struct, omit_defaults=True):
    """How a route did."""

    upstream: str
    model: str
    ok: bool
    error: str = ""
    """What a caller would be told."""
    log: list[str] = []
    """What the operator's log would say."""
    first_token_ms: int | None = None
    total_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    text: str = ""


def list_models(as_json: AsJson = False, home: Home = None) -> None:
    """List the public models: routes, price, capabilities, and whether each is usable and why not.

    Prices are US dollars per million tokens, before `markup`.

    Examples: `tollway models list`, `tollway models list --json | jq '.[] | select(.usable) | .id'`
    """
    from tollway.engine import ModelStore, known_models

    settings = settings_in_force(home=home)
    catalog = _catalog(settings)
    default = settings.default_model
    if settings.local_models != "none" and default in known_models() and ModelStore(settings.models_path).find(default) is None:
        err.print(f"{default} is not here yet: `tollway serve` fetches it first, or `tollway models pull`.", markup=False)
    rows = [_row(plan) for plan in catalog.plans]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        _print(row)


def try_model(
    name: Annotated[str, typer.Argument(help="A public model, as `tollway models list` shows it.", show_default=False)],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Ask each route of a model a tiny real question. It may cost a fraction of a cent. Exit code 1 if any route fails.

    Example: `tollway models test google/gemini-2.5-flash-lite-preview`
    """
    settings = settings_in_force(home=home)
    plan = _plan(_catalog(settings), name)
    tried = [Tried(each.upstream, each.upstream_model, False, each.reason) for each in plan.unusable]
    with _engines(settings, plan) as endpoints, _captured() as events:
        tried = [*asyncio.run(_try_all(settings, plan, endpoints, events)), *tried]
    wanted = tried[: len(plan.routes)] if plan.model.stand_in else tried  # that its own upstream has no key is no failure
    if as_json:
        print_json(tried)
    else:
        for number, each in enumerate(tried):
            _show(each, "[red]wrong[/red]" if number < len(wanted) else "unset")
    if not all(each.ok for each in wanted):
        raise typer.Exit(1)


# --- what there is ----------------------------------------------------------------------------------------------------


def _catalog(settings: Settings) -> "Catalog":
    from tollway.engine import EngineError
    from tollway.observability import configure_logging

    configure_logging(settings.log_format)
    try:
        return catalog_of_a_start(settings)
    except (SettingsError, EngineError) as error:
        fail(str(error), 2)


def catalog_of_a_start(settings: Settings) -> "Catalog":
    """The catalogue as the service would have it if it started now. Raises SettingsError and EngineError."""
    from tollway.catalog import LocalModel, load_catalog, load_configuration
    from tollway.engine import ModelStore, plan_context, served_models

    configuration = load_configuration(settings)
    facts = served_models(settings, ModelStore(settings.models_path))
    local_models = [
        LocalModel(
            name=each.name,
            title=each.title,
            developer=each.developer,
            context_tokens=plan_context(each, settings.engine_slots, settings.engine_context_tokens)[0],
            sees=each.sees,
            thinks=each.thinks,
        )
        for each in facts
    ]
    return load_catalog(
        local_models, default_model=settings.default_model, stand_in=settings.stand_in, configuration=configuration
    )


def _plan(catalog: "Catalog", name: str) -> "Plan":
    from tollway.errors import ModelNotFound

    for plan in catalog.unserved:
        if name in (plan.model.id, *plan.model.aliases):
            return plan
    try:
        return catalog.resolve(name)
    except ModelNotFound:
        fail(f"There is no model {name}. `tollway models list` shows them.", 2)


def _row(plan: "Plan") -> dict[str, Any]:
    """A model for programs. A stand-in is described by what really answers."""
    model = plan.model
    described = plan.routes[0] if model.stand_in else None
    routes: list[dict[str, Any]] = [
        {
            "upstream": route.upstream.name,
            "model": route.upstream_model,
            "usable": True,
            "priority": route.priority,
            "weight": route.weight,
            "answers_as": route.answers_as,
            "stand_in": route.stand_in,
            "price": route.price,
            "context_length": route.context_tokens,
            "output_default": route.output_default,
            "capabilities": sorted(route.capabilities),
        }
        for route in plan.routes
    ]
    routes += [
        {"upstream": each.upstream, "model": each.upstream_model, "usable": False, "why_not": each.reason}
        for each in plan.unusable
    ]
    return {
        "id": model.id,
        "aliases": list(model.aliases),
        "name": model.name,
        "usable": bool(plan.routes),
        "stand_in": model.stand_in,
        "price": msgspec.to_builtins(described.price if described else model.price),
        "context_length": described.context_tokens if described else model.context_length,
        "output_max": described.output_max if described else model.output_max,
        "output_default": described.output_default if described else model.output_default,
        "capabilities": sorted(described.capabilities if described else model.capabilities),
        "routes": routes,
    }


def _print(row: dict[str, Any]) -> None:
    usable = ("stand-in" if row["stand_in"] else "usable") if row["usable"] else "not usable"
    out.print(f"[bold]{escape(row['id'])}[/bold]  [{'green' if row['usable'] else 'red'}]{usable}[/]")
    price = row["price"]
    facts = [f"${price['prompt']} in, ${price['completion']} out", f"{row['context_length']:,} tokens", *row["capabilities"]]
    out.print("   ", ", ".join(facts), markup=False)
    if row["aliases"]:
        out.print("    also", ", ".join(row["aliases"]), markup=False)
    for route in row["routes"]:
        out.print("    ->" if route["usable"] else "    - ", _line(route), markup=False)


def _line(route: dict[str, Any]) -> str:
    name = f"{route['upstream']}/{route['model']}"
    if not route["usable"]:
        return f"{name}: {route['why_not']}"
    marks = [f"priority {route['priority']}"] if route["priority"] else []
    marks += [f"weight {route['weight']}"] if route["weight"] != 1 else []
    return f"{name} ({', '.join(marks)})" if marks else name


# --- whether it works -------------------------------------------------------------------------------------------------


@contextmanager
def _engines(settings: Settings, plan: "Plan") -> "Iterator[list[EngineEndpoint]]":
    """Engines of our own for the local routes; a running service is left alone."""
    from tollway.catalog import LOCAL
    from tollway.engine import EngineError, ModelStore, Supervisor

    names = dict.fromkeys(route.upstream_model for route in plan.routes if route.upstream.name == LOCAL.name)
    if not names:
        yield []
        return
    settings = structs.replace(settings, local_models=",".join(names))
    try:
        supervisor = Supervisor(settings, ModelStore(settings.models_path))
        supervisor.start()
    except EngineError as error:
        fail(str(error))
    try:
        yield supervisor.endpoints()
    finally:
        supervisor.stop()


@contextmanager
def _captured() -> Iterator[list[str]]:
    """The warnings and errors that are logged meanwhile, as lines."""
    import structlog

    lines: list[str] = []

    def keep(_: Any, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if level not in {"debug", "info"}:
            name = event.pop("event")
            lines.append(" ".join([str(name), *(f"{key}={value}" for key, value in event.items() if value not in ("", None))]))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    try:
        yield lines
    finally:
        structlog.configure(**before)


async def _try_all(settings: Settings, plan: "Plan", endpoints: "list[EngineEndpoint]", events: list[str]) -> list[Tried]:
    from tollway.observability import Metrics
    from tollway.providers.adapters import Adapters
    from tollway.providers.routing import Router

    adapters = Adapters(settings, endpoints)
    router = Router(adapters.by_dialect, Metrics())
    async with adapters.opened():
        return [await _try(router, plan, route, events) for route in plan.routes]


async def _try(router: "Router", plan: "Plan", route: "Route", events: list[str]) -> Tried:
    """One small answer from one route, without retries."""
    from tollway.catalog import Plan
    from tollway.errors import TollwayError
    from tollway.providers.base import Meter
    from tollway.wire.chat import ChatRequest, ChunkChoice, Usage, UserMessage

    limits = route.upstream.limits
    first_token_seconds = min(limits.first_token_seconds or _FIRST_TOKEN_SECONDS_MAX, _FIRST_TOKEN_SECONDS_MAX)
    limits = structs.replace(limits, attempts_max=1, first_token_seconds=first_token_seconds)
    alone = structs.replace(route, upstream=structs.replace(route.upstream, limits=limits))
    question = ChatRequest(
        model=plan.model.id,
        messages=[UserMessage(content=_QUESTION)],
        stream=True,  # a whole answer that is short would come in one piece, which says nothing of what most callers get
        max_completion_tokens=_OUTPUT_TOKENS_MAX,
    )
    tried = Tried(route.upstream.name, route.upstream_model, False)
    began = time.monotonic()
    texts: list[str] = []

    def take(item: ChunkChoice | Usage) -> None:
        if isinstance(item, ChunkChoice):
            tried.first_token_ms = tried.first_token_ms or _ms(began)
            texts.append(item.delta.content or "")
        else:
            tried.prompt_tokens, tried.completion_tokens = item.prompt_tokens, item.completion_tokens

    events.clear()
    try:
        await router.begin(question, Plan(plan.model, (alone,))).answer(Meter(), take)
        tried.ok, tried.text = True, "".join(texts)
    except TollwayError as error:
        tried.error = f"{error.status} {error.code}: {error.message}"
    tried.total_ms, tried.log = _ms(began), list(events)
    return tried


def _ms(began: float) -> int:
    return max(1, round((time.monotonic() - began) * 1000))


def _show(tried: Tried, otherwise: str) -> None:
    out.print("[green]ok   [/green]" if tried.ok else otherwise, end=" ")
    name = f"{tried.upstream}/{tried.model}"
    if not tried.ok:
        out.print(f"{name}: {tried.error}", markup=False)
        for line in tried.log:
            err.print(f"      {line}", markup=False)
        return
    tokens = f"{tried.prompt_tokens} + {tried.completion_tokens} tokens"
    out.print(f"{name}: {tried.first_token_ms} ms to the first token, {tried.total_ms} ms in all, {tokens}", markup=False)
    out.print(f"      {' '.join(tried.text.split())[:200]}", markup=False)
