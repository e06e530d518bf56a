"""Load, validate, and resolve a public model to the routes that may answer for it."""

import difflib
import functools
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec
from msgspec import Struct

from tollway.catalog.configuration import LOCAL_PREFIX, Configuration, shipped_configuration
from tollway.catalog.shipped import shipped
from tollway.catalog.tables import AmountText, ModelTable, PriceTable, RouteTable
from tollway.catalog.upstreams import LOCAL, Upstream
from tollway.errors import ModelNotFound

CAPABILITIES = ("streaming", "tools", "parallel_tool_calls", "structured_output")
"""What every model can do of which nothing else is said."""


class Price(Struct, frozen=True):
    """USD per million tokens, as decimal text. `micro` gives the integers that metering computes with."""

    prompt: AmountText
    completion: AmountText
    cached_prompt: AmountText
    audio_prompt: AmountText

    def micro(self, component: str) -> int:
        """Millionths of a USD per million tokens."""
        return int(Decimal(getattr(self, component)) * 1_000_000)


class Model(Struct, frozen=True):
    """A public model as the catalogue describes it."""

    id: str
    name: str
    developer: str
    description: str
    context_length: int
    output_max: int
    price: Price
    released_at: str | None = None
    aliases: tuple[str, ...] = ()
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    capabilities: tuple[str, ...] = ()
    type: str = "openai/chat-completions"
    tags: tuple[str, ...] = ()
    stand_in: bool = False
    output_default: int | None = None


class LocalModel(Struct, frozen=True):
    """What the catalogue has to know of a model file on this machine."""

    name: str
    title: str
    developer: str
    context_tokens: int
    sees: bool
    thinks: bool


class Route(Struct, frozen=True):
    """Who may answer for a public model."""

    model: Model
    answers_as: str
    """The id that the answer carries in `model`: what really answered."""
    upstream: Upstream
    upstream_model: str
    price: Price
    context_tokens: int
    output_max: int
    capabilities: frozenset[str]
    stand_in: bool
    priority: int = 0
    """Routes of the lowest number are asked first; the others are for when those fail."""
    weight: int = 1
    """Its share of the requests among the routes of its priority."""
    output_default: int | None = None

    def output_limit(self, asked: int | None) -> int | None:
        """The most tokens of a choice, which is what is sent on and what is paid for at the most: what was asked for, or the
        route's default, and never more than `output_max`. None where nothing but the context bounds it.
        """
        limit = self.output_default if asked is None else asked
        if limit is None:
            return self.output_max if self.output_max < self.context_tokens else None
        return min(limit, self.output_max)


class Unusable(Struct, frozen=True):
    """A route that is written down but cannot be taken."""

    upstream: str
    upstream_model: str
    reason: str
    """For operators: what is missing."""


class Plan(Struct, frozen=True):
    """A public model with everyone who may answer for it, first those to be asked first: never nobody for a served model."""

    model: Model
    routes: tuple[Route, ...]
    unusable: tuple[Unusable, ...] = ()


class Catalog:
    """All public models with their routes. A reload changes all of it at once; who holds a Plan keeps it."""

    models: tuple[Model, ...]
    """Those that are served."""
    unserved: tuple[Plan, ...]
    """Those that nobody can answer for at present."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        plans = tuple(plans)
        served = [plan for plan in plans if plan.routes]
        self.models = tuple(plan.model for plan in served)
        self.unserved = tuple(plan for plan in plans if not plan.routes)
        self._plans = {plan.model.id: plan for plan in served}
        for plan in served:
            for alias in plan.model.aliases:
                self._plans.setdefault(alias, plan)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Of all models, those that are not served last."""
        return (*(self._plans[model.id] for model in self.models), *self.unserved)

    def become(self, other: "Catalog") -> None:
        """Takes over the other's models: for a reload, in one step of the event loop."""
        self.models, self.unserved, self._plans = other.models, other.unserved, other._plans

    @property
    def routes(self) -> list[Route]:
        """The routes of all models."""
        return [route for plan in self.plans for route in plan.routes]

    def resolve(self, name: str) -> Plan:
        """The plan of a public id or alias. Raises ModelNotFound, naming close ids."""
        plan = self._plans.get(name)
        if plan is not None:
            return plan
        close = difflib.get_close_matches(name[:200], self._plans, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else " `GET /v1/models` lists what is served."
        raise ModelNotFound(f"The model `{name[:200]}` does not exist or is not served here.{hint}", param="model")

    def get(self, name: str) -> Model:
        """The public model itself. Raises ModelNotFound."""
        return self.resolve(name).model

    def answering(self, model: Model) -> tuple[Route, Model]:
        """Who is asked first for a served model, and the model that really answers: of a stand-in another one, whose context,
        abilities and price are those that count.
        """
        route = self.resolve(model.id).routes[0]
        return route, self.get(route.answers_as) if route.stand_in else model


def load_catalog(
    local_models: Iterable[LocalModel],
    *,
    default_model: str,
    stand_in: bool,
    configuration: Configuration | None = None,
) -> Catalog:
    """The catalogue in force: the configured models, and one more for each local model that is served.

    A shipped model whose upstream nobody configured is answered by `default_model`, marked as a stand-in, unless `stand_in` is
    False; then it is not served. Without a `configuration` there are the shipped models and no keys.
    """
    configuration = configuration or shipped_configuration()
    locals_by_name = {local.name: _local_model(local) for local in local_models}
    substitute = locals_by_name.get(default_model) if stand_in else None
    plans: list[Plan] = []
    for table in configuration.models:
        plan = _plan(table, configuration, locals_by_name)
        if not plan.routes and substitute is not None and not _is_explicit(table, configuration):
            model = msgspec.structs.replace(plan.model, stand_in=True)
            plan = Plan(model, (_local_route(model, substitute, answers_as=substitute.id),), plan.unusable)
        plans.append(plan)
    plans.extend(Plan(model, (_local_route(model, model, answers_as=model.id),)) for model in locals_by_name.values())
    return Catalog(plans)


def _is_explicit(table: ModelTable, configuration: Configuration) -> bool:
    """Whether the operator has said who answers; then nothing stands in, even if it cannot."""
    return table.id in configuration.explicit_models or any(
        route.upstream in configuration.explicit_upstreams for route in table.routes
    )


def _plan(table: ModelTable, configuration: Configuration, local_models: Mapping[str, Model]) -> Plan:
    model = _public_model(table, local_models)
    routes: list[Route] = []
    unusable: list[Unusable] = []
    for row in table.routes:
        if row.upstream == LOCAL.name:
            answering = local_models.get(row.model)
            if answering is None:
                reason = f"`{row.model}` is not served here: `tollway models pull`, and look at `local_models`"
                unusable.append(Unusable(row.upstream, row.model, reason))
                continue
            upstream, answers_as, limit = LOCAL, answering.id, answering.output_default
            price, context, able = table.price, _context_here(row, table, answering), frozenset(answering.capabilities)
        elif row.upstream in configuration.upstreams:
            upstream, answers_as, limit = configuration.upstreams[row.upstream], model.id, None
            price, able = table.price, frozenset(model.capabilities)
            context = row.context_length or table.context_length or 0
        else:
            unusable.append(Unusable(row.upstream, row.model, configuration.missing.get(row.upstream, "it is not configured")))
            continue
        written = (row.capabilities, table.capabilities, able)  # () is none at all
        route = Route(
            model=model,
            answers_as=row.answers_as or answers_as,
            upstream=upstream,
            upstream_model=row.model,
            price=_price(row.price or price) or model.price,
            context_tokens=context,
            output_max=min(row.output_max or table.output_max or context, context),
            capabilities=frozenset(next(each for each in written if each is not None)) & able,
            stand_in=False,
            priority=row.priority,
            weight=row.weight,
            output_default=row.output_default or table.output_default or limit,
        )
        routes.append(route)
    routes.sort(key=lambda route: route.priority)
    return Plan(model, tuple(routes), tuple(unusable))


def _public_model(table: ModelTable, local_models: Mapping[str, Model]) -> Model:
    """The model as callers see it. One with local routes alone has its figures from those that are there."""
    here = [route for route in table.routes if route.upstream == LOCAL.name]
    row = next((route for route in here if route.model in local_models), None)
    answering = local_models[row.model] if row else None
    capabilities = answering.capabilities if answering and table.price is None else CAPABILITIES
    if table.capabilities is not None:
        capabilities = table.capabilities
    context = table.context_length or 0
    if row and answering and (not context or len(here) == len(table.routes)):
        context = _context_here(row, table, answering)
    return Model(
        id=table.id,
        aliases=table.aliases,
        name=table.name or table.id,
        developer=table.developer or table.id.rpartition("/")[0].partition("/")[0],
        description=table.description or "",
        released_at=table.released_at,
        context_length=context,
        output_max=table.output_max or context,
        price=_price(table.price) or _shipped_local().price,
        input_modalities=("text", "image") if "vision" in capabilities else ("text",),
        capabilities=capabilities,
        tags=table.tags,
    )


def _context_here(row: RouteTable, table: ModelTable, answering: Model) -> int:
    """Of a local route: what is written down, as far as the engine has as much."""
    return min(row.context_length or table.context_length or answering.context_length, answering.context_length)


def _price(table: PriceTable | None) -> Price | None:
    if table is None:
        return None
    prompt = _decimal(table.prompt)
    return Price(
        prompt=prompt,
        completion=_decimal(table.completion),
        cached_prompt=prompt if table.cached_prompt is None else _decimal(table.cached_prompt),
        audio_prompt=prompt if table.audio_prompt is None else _decimal(table.audio_prompt),
    )


def _decimal(amount: str | float) -> str:
    """Decimal text with at most six places, as TOML's own number would print."""
    return amount if isinstance(amount, str) else f"{Decimal(repr(amount)):f}"


class _Local(Struct, frozen=True):
    """What all models on this machine have in common."""

    price: Price
    output_default: int


@functools.cache
def _shipped_local() -> _Local:
    return msgspec.convert(shipped("models.toml")["local"], _Local)


def _local_model(local: LocalModel) -> Model:
    return Model(
        id=LOCAL_PREFIX + local.name,
        aliases=(local.name,),
        name=local.title,
        developer=local.developer,
        description="Runs on this machine's own CPU.",
        context_length=local.context_tokens,
        output_max=local.context_tokens,
        price=_shipped_local().price,
        output_default=None if local.thinks else _shipped_local().output_default,
        input_modalities=("text", "image") if local.sees else ("text",),
        capabilities=(
            *CAPABILITIES,
            *(("vision",) if local.sees else ()),
            *(("reasoning",) if local.thinks else ()),
        ),
    )


def _local_route(public: Model, answering: Model, *, answers_as: str) -> Route:
    return Route(
        model=public,
        answers_as=answers_as,
        upstream=LOCAL,
        upstream_model=answering.id.removeprefix(LOCAL_PREFIX),
        price=answering.price,
        context_tokens=answering.context_length,
        output_max=answering.output_max,
        capabilities=frozenset(answering.capabilities),
        stand_in=public.id != answering.id,
        output_default=answering.output_default,
    )
