"""Who can answer: one row per upstream, as data. What an upstream of a dialect does differently from the others is a quirk."""

from typing import Literal

from msgspec import Struct

Dialect = Literal["local", "openai", "gemini"]


class Quirks(Struct, frozen=True, forbid_unknown_fields=True):
    """How an OpenAI-compatible upstream differs from OpenAI itself. The defaults are OpenAI's own behaviour."""

    extra_parameters: bool = False
    """Unknown top-level fields are forwarded instead of being ignored with a header."""
    usage_in_stream: Literal["on_request", "always", "never"] = "on_request"
    """When a stream carries usage: with `stream_options.include_usage`, without being asked, or not at all."""
    done_marker: bool = True
    """Whether a stream ends with `[DONE]`; without it, the last finish_reason and the end of the body count as the end."""
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    """The name of the thought's text in messages and deltas."""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"


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

    def __repr__(self) -> str:
        return f"Upstream({self.name!r}, {self.dialect!r}, {self.base_url!r})"


# An engine has a queue and a supervisor of its own: what it refuses or drops now, it would refuse again at once.
_ENGINE_LIMITS = Limits(
    first_token_seconds=None,
    between_tokens_seconds=None,
    total_seconds=None,
    concurrency_max=0,
    attempts_max=1,
    breaker_failures=0,
)

LOCAL = Upstream("local", "local", limits=_ENGINE_LIMITS)
"""The engines on this machine; each has its own address, which the local provider knows."""
