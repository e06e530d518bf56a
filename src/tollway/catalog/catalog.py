"""Load, validate, and resolve a public model to the routes that may answer for it."""

import difflib
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from importlib import resources
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tollway.catalog.upstreams import LOCAL, Upstream
from tollway.errors import ModelNotFound

LOCAL_PREFIX = "local/"

PriceText = Annotated[str, Meta(pattern=r"^\d{1,6}(\.\d{1,6})?$")]


class Price(Struct, frozen=True):
    """USD per million tokens, as decimal text. `micro` gives the integers that metering computes with."""

    prompt: PriceText
    completion: PriceText
    cached_prompt: PriceText
    audio_prompt: PriceText

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


class Plan(Struct, frozen=True):
    """A public model with everyone who may answer for it, first those to be asked first. There is always one."""

    model: Model
    routes: tuple[Route, ...]


class Catalog:
    """All public models with their routes. Immutable; a reload makes a new one."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        plans = tuple(plans)
        self.models = tuple(plan.model for plan in plans)
        self._plans = {plan.model.id: plan for plan in plans}
        for plan in plans:
            for alias in plan.model.aliases:
                self._plans.setdefault(alias, plan)

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


def load_catalog(local_models: Iterable[LocalModel], *, default_model: str, stand_in: bool) -> Catalog:
    """The catalogue in force: the shipped models, and one more for each local model that is served.

    A shipped model without a configured upstream is answered by `default_model`, marked as a stand-in, unless `stand_in` is
    False; then it is not served.
    """
    shipped = tomllib.loads(resources.files(__package__).joinpath("models.toml").read_text(encoding="utf-8"))
    local_price = msgspec.convert(shipped["local"]["price"], Price)
    locals_by_name = {local.name: _local_model(local, local_price) for local in local_models}

    plans: list[Plan] = []
    for row in shipped["models"]:
        model = _shipped_model(row)
        substitute = locals_by_name.get(default_model) if stand_in else None
        if substitute is None:
            continue
        model = msgspec.structs.replace(model, stand_in=True)
        plans.append(Plan(model, (_route(model, substitute, default_model),)))
    for name, model in locals_by_name.items():
        plans.append(Plan(model, (_route(model, model, name),)))
    return Catalog(plans)


def _shipped_model(row: dict[str, Any]) -> Model:
    return msgspec.convert(row, Model)


def _local_model(local: LocalModel, price: Price) -> Model:
    return Model(
        id=LOCAL_PREFIX + local.name,
        aliases=(local.name,),
        name=local.title,
        developer=local.developer,
        description="Runs on this machine's own CPU.",
        context_length=local.context_tokens,
        output_max=local.context_tokens,
        price=price,
        input_modalities=("text", "image") if local.sees else ("text",),
        capabilities=(
            "streaming",
            "tools",
            "parallel_tool_calls",
            "structured_output",
            *(("vision",) if local.sees else ()),
            *(("reasoning",) if local.thinks else ()),
        ),
    )


def _route(public: Model, answering: Model, upstream_model: str) -> Route:
    return Route(
        model=public,
        answers_as=answering.id,
        upstream=LOCAL,
        upstream_model=upstream_model,
        price=answering.price,
        context_tokens=answering.context_length,
        output_max=answering.output_max,
        capabilities=frozenset(answering.capabilities),
        stand_in=public.id != answering.id,
    )
