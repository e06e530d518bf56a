"""What may stand in `tollway.toml` besides the settings. `docs/configuration.md` is generated from these classes.

Secrets have no place here: a key comes from an environment variable or from a file of its own.
"""

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tollway.catalog.upstreams import Quirks

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
MODEL_ID = r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}"
"""What ids and aliases look like; those of local models as well, whose names are stricter."""
ModelId = Annotated[
    str,
    Meta(pattern=f"^{MODEL_ID}$", description="It may have letters, digits and `._:@/-`, and begins with one of the former"),
]
AmountText = Annotated[
    str, Meta(pattern=r"^\d{1,6}(\.\d{1,6})?$", description='Write US dollars such as "0.10", with at most six decimals')
]
Amount = AmountText | Annotated[float, Meta(ge=0, lt=1_000_000)]
Capability = Literal["streaming", "tools", "parallel_tool_calls", "structured_output", "vision", "audio", "reasoning"]


class UpstreamTable(Struct, frozen=True, kw_only=True):
    """`[upstreams.NAME]`: an endpoint that can answer. NAME is what routes call it."""

    provider: Text | None = None
    """A shipped row, which gives everything that is not written here. Default: the row called NAME, where there is one."""
    dialect: Literal["openai", "gemini"] | None = None
    """The API that it speaks. Needed where there is no `provider`."""
    base_url: Text | None = None
    """For `openai` the part before `/chat/completions`, for `gemini` the part before `/models`. Needed without a `provider`."""
    key_variable: Text | None = None
    """The environment variable that holds its key."""
    key_file: Text | None = None
    """A file that holds its key and nothing else; a relative path starts at the home folder. Read again at a reload."""
    first_token_seconds: Seconds = 120.0
    """From the call to the first piece of content; 0 = no limit."""
    between_tokens_seconds: Seconds = 60.0
    """From one piece of content to the next; heartbeats and empty pieces do not count. 0 = no limit."""
    total_seconds: Seconds = 900.0
    """From the request's arrival to the end of the answer, whatever was tried and however slowly it is read; what images took
    to download comes on top. 0 = no limit."""
    concurrency_max: Count = 512
    """Answers in work at a time; more go to another route or are a 429. Of several workers each has its share, rounded up.
    0 = no limit."""
    attempts_max: Number = 3
    """How often one request may try it; all routes together are tried three times at most."""
    breaker_failures: Count = 5
    """So many failures in a row, and it is left alone for 5 to 60 seconds, then probed by one request; 0 = never."""
    quirks: Quirks = Quirks()
    """How it differs from OpenAI: `[upstreams.NAME.quirks]`. What is not written here is as in the provider's row."""


class PriceTable(Struct, frozen=True, kw_only=True):
    """`price = { ... }`: US dollars per million tokens."""

    prompt: Amount
    """What the caller sends."""
    completion: Amount
    """What the model writes, its thoughts included."""
    cached_prompt: Amount | None = None
    """The part of the prompt that the upstream had in its cache; default: as `prompt`."""
    audio_prompt: Amount | None = None
    """Audio in the prompt; default: as `prompt`."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            amount = getattr(self, name)
            if isinstance(amount, float) and round(amount, 6) != amount:
                raise ValueError(f"`{name}` has more than six decimals")


class RouteTable(Struct, frozen=True, kw_only=True):
    """One of a model's `routes`: who may answer. What is not written here is as in the model."""

    upstream: Text
    """NAME of an `[upstreams.NAME]`, a shipped provider, or `local` for a model file on this machine."""
    model: Text
    """What the upstream calls the model; for `local` the file's name."""
    priority: Count = 0
    """Routes of the lowest number are asked first; higher numbers are fallbacks."""
    weight: Number = 1
    """The route's share among the routes of its priority."""
    answers_as: Text | None = None
    """What answers carry in `model`: say so where the route is another model than callers would think. Default: the model's id;
    for `local` routes `local/NAME`."""
    price: PriceTable | None = None
    """What callers pay when this route answers."""
    context_length: Number | None = None
    """Its own context, in tokens."""
    output_max: Number | None = None
    """Its own longest answer, in tokens."""
    output_default: Number | None = None
    """Its own limit for requests that name none."""
    capabilities: tuple[Capability, ...] | None = None
    """What it can do, where that is not all that the model can."""


class ModelTable(Struct, frozen=True, kw_only=True):
    """`[[models]]`: a public model. One with the id of a shipped model changes what is written and keeps the rest."""

    id: ModelId
    """What callers ask for."""
    routes: tuple[RouteTable, ...] = ()
    """Who answers for it. A shipped model keeps its own."""
    aliases: tuple[ModelId, ...] = ()
    """Other names for it."""
    name: Text | None = None
    """For people; default: the id."""
    developer: Text | None = None
    """Who made it; default: the id's part before the `/`."""
    description: str | None = None
    """One or two sentences."""
    released_at: (
        Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description='Write a date such as "2025-06-17"')] | None
    ) = None
    """A date, such as `2025-06-17`."""
    context_length: Number | None = None
    """Tokens of prompt and answer together. Needed, unless all routes are `local`, which have at most their engine's."""
    output_max: Number | None = None
    """Tokens of the longest answer; nobody is asked for more. Default: as `context_length`."""
    output_default: Number | None = None
    """The `max_tokens` of requests that name none; default: none, and 1024 on `local` models that do not think."""
    price: PriceTable | None = None
    """What callers pay, before `markup`. Needed, unless all routes are `local`."""
    capabilities: tuple[Capability, ...] | None = None
    """Default: streaming, tools, parallel_tool_calls, structured_output. `vision` means that it takes images."""
    tags: tuple[Text, ...] = ()
    """Words to filter by."""

    def __post_init__(self) -> None:
        if self.released_at is not None:
            try:
                dt.date.fromisoformat(self.released_at)
            except ValueError:
                raise ValueError(f"`released_at`: there is no {self.released_at}") from None
