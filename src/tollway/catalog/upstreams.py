"""Who can answer: one row per upstream, as data. What an upstream of a dialect does differently from the others is a quirk."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, structs

from tollway.catalog.shipped import shipped
from tollway.wire.chat import ChatRequest

Dialect = Literal["local", "openai", "gemini"]

# Parameters that ask for no other answer, only for another way to make it or for a note of it: a route may leave them out.
HINTS = ("metadata", "prediction", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
# What every upstream of the dialect gets under our own name or by a quirk of its own; it can be neither renamed nor refused.
_FIXED = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", *HINTS})


class Quirks(Struct, frozen=True, forbid_unknown_fields=True):
    """How an OpenAI-compatible upstream differs from OpenAI itself. The defaults are OpenAI's own behaviour.

    What upstreams do differently in their answers (the thought's name, tool calls without an index or all with index 0, a
    content in parts, a second finish_reason) is read as it comes and needs no quirk.
    """

    extra_parameters: bool | tuple[str, ...] = False
    """Unknown top-level fields that are forwarded as they came: these, or all (`true`), or none. Name what is safe: a field
    such as OpenRouter's `models` lets the caller choose what the operator pays for. The others are listed to the caller."""
    refused_parameters: tuple[str, ...] = ("min_p", "repetition_penalty", "top_k")
    """Parameters that change the answer and that the upstream cannot honour: a request that uses one is a 400, or goes to
    another route. `n` means more than one choice, `tool_choice` a call that is forced."""
    parameter_names: dict[str, str] = {}
    """The upstream's own names of parameters, by ours: `{ seed = "random_seed" }`."""
    hints: tuple[str, ...] = ("prediction", "prompt_cache_key", "safety_identifier", "user")
    """The hints (metadata, prediction, prompt_cache_key, safety_identifier, service_tier, store, user) that are sent on; the
    others are left out and listed to the caller. `service_tier` raises the upstream's price, `store` keeps the conversation."""
    message_names: bool = True
    """Whether a message may have a `name`."""
    named_tool_choice: bool = True
    """Whether a call can be forced by its function's name; otherwise only that function is sent, and `required`."""
    tool_call_id_length: Annotated[int, Meta(ge=1, le=64)] | None = None
    """So many letters and digits make an id of a tool call, and any other id in the conversation is sent as such a one."""
    extra_content: bool = False
    """Whether tool calls of earlier answers are sent back with their `extra_content`, where the signature of Gemini's thought
    is."""
    fetches_images: bool = False
    """Whether https image URLs are sent on for the upstream to fetch; otherwise Tollway downloads them through its own guarded
    fetcher, within 30 s and before the upstream's own time begins. Never for an upstream in your own network: a caller's URL
    would lead it to internal addresses."""
    usage_in_stream: Literal["on_request", "always", "never"] = "on_request"
    """When a stream carries usage: with `stream_options.include_usage`, without being asked, or not at all."""
    done_marker: bool = True
    """Whether a stream ends with `[DONE]`, so that one without is broken; otherwise the last finish_reason and the end of the
    body count as the end."""
    reasoning_field: Literal["reasoning_content", "reasoning"] | None = None
    """The name under which the thoughts of earlier answers are sent back in messages; without it they are left out."""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What it calls the limit on the answer's tokens."""

    def __post_init__(self) -> None:
        changeable = {*ChatRequest.__struct_fields__} - _FIXED
        for name in (*self.refused_parameters, *self.parameter_names):
            if name not in changeable:
                raise ValueError(f"`{name}` is no parameter that can be refused or renamed")
        for name in self.hints:
            if name not in HINTS:
                raise ValueError(f"`{name}` is none of the hints {', '.join(HINTS)}")

    def takes(self, name: str) -> bool:
        """Whether an unknown top-level field is forwarded."""
        return self.extra_parameters if isinstance(self.extra_parameters, bool) else name in self.extra_parameters


class Limits(Struct, frozen=True):
    """What one upstream may take. Times count content, not bytes: a heartbeat resets nothing. None = no limit."""

    first_token_seconds: float | None = 120.0
    """From the call to the first piece of content."""
    between_tokens_seconds: float | None = 60.0
    total_seconds: float | None = 900.0
    """From the request's arrival to the end of its answer, whatever was tried meanwhile."""
    concurrency_max: int = 512
    """Answers in work at a time, over all worker processes; 0 = no limit."""
    attempts_max: int = 3
    """How often one request may try this upstream."""
    breaker_failures: int = 5
    """So many failures in a row, and the upstream is left alone for a while; 0 = never."""


class Upstream(Struct, frozen=True):
    """The far end of a route. Holds a secret: its repr does not show it, and it is not for logs."""

    name: str
    dialect: Dialect
    base_url: str = ""
    """Without a slash at the end; for `openai` the part before `/chat/completions`, for `gemini` the part before `/models`."""
    api_key: str | None = None
    quirks: Quirks = Quirks()
    limits: Limits = Limits()
    vendor: str = ""
    """Who it is to OpenTelemetry: `gen_ai.provider.name`."""

    @property
    def bills_prompt_per_choice(self) -> bool:
        """Whether each of several choices is a call of its own, for which the prompt counts again."""
        return self.dialect == "gemini"

    def without_key(self, text: str) -> str:
        """For the log: an upstream may repeat the key that it was sent, in whatever case. Cut it afterwards."""
        return re.sub(re.escape(self.api_key), "***", text, flags=re.IGNORECASE) if self.api_key else text

    def __repr__(self) -> str:
        return f"Upstream({self.name!r}, {self.dialect!r}, {self.base_url!r})"


class ProviderRow(Struct, frozen=True, forbid_unknown_fields=True):
    """An upstream before its key is known: a row of `providers.toml`."""

    name: str
    dialect: Dialect
    base_url: str
    key_variable: str | tuple[str, ...] = ()
    """The environment variable with the key; of several, the first that is set."""
    key_required: bool = True
    """False for servers that ask for a key only when they were told to."""
    quirks: Quirks = Quirks()
    vendor: str = ""
    """What OpenTelemetry's conventions call it, where that is not its name."""

    @property
    def key_variables(self) -> tuple[str, ...]:
        return (self.key_variable,) if isinstance(self.key_variable, str) else self.key_variable


def shipped_providers() -> dict[str, ProviderRow]:
    """The rows of the shipped `providers.toml`, by name."""
    rows = msgspec.convert(shipped("providers.toml")["providers"], list[ProviderRow])
    return {row.name: structs.replace(row, vendor=row.vendor or row.name) for row in rows}


# An engine has a queue and a supervisor of its own: what it refuses or drops now, it would refuse again at once.
_ENGINE_LIMITS = Limits(
    first_token_seconds=None,
    between_tokens_seconds=None,
    total_seconds=None,
    concurrency_max=0,
    attempts_max=1,
    breaker_failures=0,
)

LOCAL = Upstream("local", "local", limits=_ENGINE_LIMITS, vendor="tollway")
"""The engines on this machine; each has its own address, which the local provider knows."""
