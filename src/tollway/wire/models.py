"""The contract of the models endpoints: the platform's shape, with the fields that OpenAI's clients look for."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


class ModelInfo(Struct):
    """What a model is, for people."""

    name: str
    developer: str
    description: str
    contextLength: Annotated[int, Meta(description="Tokens of prompt and answer together.")]  # noqa: N815
    outputMax: Annotated[int, Meta(description="Most tokens of one answer.")]  # noqa: N815
    releasedAt: str | UnsetType = UNSET  # noqa: N815


class Modalities(Struct):
    """What goes in and what comes out."""

    input: list[str]
    output: list[str]


class PriceUnit(Struct):
    """One component of the price."""

    name: Literal["prompt", "completion", "cached_prompt", "audio_prompt"]
    measure: Literal["token"]
    price: Annotated[float, Meta(description="In the currency of the pricing, markup included. For display.")]
    per: int


class Pricing(Struct):
    """What a model costs."""

    units: list[PriceUnit]
    kind: Literal["fixed"] = "fixed"
    currency: Literal["USD"] = "USD"
    dimensions: list[str] = []
    variants: list[str] = []


class ModelItem(Struct):
    """A model that is served here."""

    id: str
    aliases: list[str]
    type: Annotated[str, Meta(description="What it can be asked through.")]
    info: ModelInfo
    tags: list[str]
    created: Annotated[int, Meta(description="Release, in seconds since the epoch; 0 = not known.")]
    owned_by: str
    object: Literal["model"] = "model"
    stand_in: Annotated[
        Literal[True] | UnsetType,
        Meta(description="The model has no upstream: `answered_by` answers in its place, and is what the rest describes."),
    ] = UNSET
    answered_by: str | UnsetType = UNSET
    modalities: Annotated[Modalities | UnsetType, Meta(description="With `include=modalities`.")] = UNSET
    capabilities: Annotated[list[str] | UnsetType, Meta(description="With `include=capabilities`.")] = UNSET
    pricing: Annotated[Pricing | UnsetType, Meta(description="With `include=pricing`.")] = UNSET


class ModelList(Struct):
    """All models that are served here, or those that fit the filters."""

    data: list[ModelItem]
    object: Literal["list"] = "list"


class ModelCard(Struct):
    """A model in OpenAI's shape."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"
    stand_in: Literal[True] | UnsetType = UNSET
    answered_by: str | UnsetType = UNSET


class ModelDetail(Struct):
    """One model in the platform's shape, with everything."""

    data: ModelItem
    object: Literal["model"] = "model"


class Deprecation(Struct):
    """A model that goes, and what takes its place."""

    id: str
    aliases: list[str]
    status: Literal["deprecated", "superseded", "withdrawn"]
    deprecated_at: str
    shutdown_at: str | None
    replaced_by: str | None
    reason: str | None


class DeprecationList(Struct):
    """Models that go or are gone."""

    generated_at: str
    data: list[Deprecation]
    object: Literal["list"] = "list"
