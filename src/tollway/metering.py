"""Tokens x price -> credits, in integers: what an answer costs, and the most that it can cost.

Usage comes from engines and upstreams and is not trusted: `trusted_usage` bounds it and says what was wrong with it.
"""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

import msgspec
from msgspec import Struct

from tollway.catalog import Price, Route
from tollway.money import CREDITS_PER_USD, usd
from tollway.wire.chat import ChatRequest, Cost, PromptTokensDetails, Usage, images_of

_MICRO = 1_000_000
_DENOMINATOR = _MICRO**3  # tokens/10^6 x USD/10^6 x markup/10^6

TOKENS_MAX = 10**9
"""No count above this is believed: no context is near it, and thousands of such counts still add up within 64 bits."""
COST_MAX = 10**15
"""The credits that one answer can cost: 500 million dollars. Prices and usage may both be absurd; sums must stay sound."""
IMAGE_TOKENS_MAX = 4096
"""The most that one image may count in a prompt's bound."""
_PROMPT_OVERHEAD_TOKENS = 1024
"""What a template adds once: its marks, a default system message, and the words around tools."""
_MESSAGE_OVERHEAD_TOKENS = 16
_BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 256
"""A low figure of those in use for an image, for where nobody counted."""


class Tariff(Struct, frozen=True):
    """A price with the markup, as the numerators that metering multiplies tokens with; over `_DENOMINATOR`."""

    prompt: int
    cached_prompt: int
    audio_prompt: int
    completion: int
    dearest_prompt: int
    """Of the prompt's three."""
    version: str
    """Names these terms: equal versions, equal terms."""
    terms: str
    """The terms as JSON, for the record."""


class Bound(Struct, frozen=True):
    """The most that a request can use, and cost on the dearest of its routes."""

    prompt_tokens: int
    output_tokens: int
    """Of each choice."""
    choices: int
    open_ended: bool
    """The caller gave no limit, so the answer may be cut to what is affordable."""
    tariff: Tariff
    prompt_credits: int
    credits: int
    others: "tuple[Bound, ...]" = ()
    """On the other routes: one that costs less in all may cost more a token."""

    @property
    def credits_min(self) -> int:
        """The least with which it makes sense to begin, whoever answers: everything asked for, or one token of each choice."""
        if not self.open_ended:
            return self.credits
        return max(each.prompt_credits + _credits(each.choices, each.tariff.completion) for each in (self, *self.others))

    def output_affordable(self, credits_available: int) -> int:
        """The output limit, per choice, that `credits_available` cover, whoever answers; 0 when they do not even cover the
        prompt.
        """
        routes = (self, *self.others)
        return min(max(each.output_tokens for each in routes), *(each._output_covered(credits_available) for each in routes))

    def _output_covered(self, credits_available: int) -> int:
        """As `output_affordable`, by this route's price alone."""
        left = credits_available - self.prompt_credits
        if left < 0:
            return 0
        return left * _DENOMINATOR // self.tariff.completion // self.choices if self.tariff.completion else TOKENS_MAX


def markup_micro(markup: str) -> int:
    """The markup setting in millionths."""
    return int(Decimal(markup) * _MICRO)


@lru_cache(maxsize=4096)
def tariff_of(price: Price, markup: int) -> Tariff:
    """`markup` is in millionths."""
    terms = msgspec.json.encode({"price": price, "markup_millionths": markup}, order="sorted")
    factor = markup * CREDITS_PER_USD
    prompt, cached, audio = (price.micro(each) * factor for each in ("prompt", "cached_prompt", "audio_prompt"))
    return Tariff(
        prompt=prompt,
        cached_prompt=cached,
        audio_prompt=audio,
        completion=price.micro("completion") * factor,
        dearest_prompt=max(prompt, cached, audio),
        version=hashlib.sha256(terms).hexdigest()[:16],
        terms=terms.decode(),
    )


def credits_for(usage: Usage, tariff: Tariff) -> int:
    """What `usage` costs, each component rounded up to a whole credit, at most COST_MAX.

    Cached prompt tokens are a part of the prompt tokens and are charged at their own price instead; audio tokens too.
    """
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    audio = (details.audio_tokens or 0) if details else 0
    cost = _credits(usage.prompt_tokens - cached - audio, tariff.prompt) + _credits(usage.completion_tokens, tariff.completion)
    if cached or audio:
        cost += _credits(cached, tariff.cached_prompt) + _credits(audio, tariff.audio_prompt)
    return min(cost, COST_MAX)


def bound_for(request: ChatRequest, routes: Sequence[Route], body_bytes: int, markup: int) -> Bound:
    """The most that the request can use. A token is at least one byte of the body, so the body's size bounds the prompt."""
    images = [len(image.url) for _, image in images_of(request)]
    prompt = body_bytes - sum(images) + len(images) * IMAGE_TOKENS_MAX
    prompt += _PROMPT_OVERHEAD_TOKENS + len(request.messages) * _MESSAGE_OVERHEAD_TOKENS
    bounds = [_bound_on(route, request, prompt, markup) for route in routes]
    if len(bounds) == 1:
        return bounds[0]
    dearest, *others = sorted(bounds, key=lambda bound: bound.credits, reverse=True)
    return msgspec.structs.replace(dearest, others=tuple(others))


def _bound_on(route: Route, request: ChatRequest, prompt_tokens: int, markup: int) -> Bound:
    tariff, choices = tariff_of(route.price, markup), request.choices_count
    prompt = min(prompt_tokens, route.context_tokens)
    if route.upstream.bills_prompt_per_choice:
        prompt *= choices
    asked = request.output_tokens_max
    output = route.output_limit(asked) or route.output_max  # a limit is at least 1
    # each of the three parts that a prompt may have is rounded up by itself
    prompt_credits = _credits(prompt, tariff.dearest_prompt) + 2 if tariff.dearest_prompt else 0
    total = prompt_credits + _credits(output * choices, tariff.completion)
    return Bound(prompt, output, choices, asked is None, tariff, prompt_credits, total)


def cost_of(credits_used: int) -> Cost:
    """As the caller is told of it."""
    return Cost(credits_used=credits_used, usd_spent=usd(credits_used))


def trusted_usage(usage: Usage) -> tuple[Usage, list[str]]:
    """The usage with every count within sane bounds, and what had to be changed."""
    flags: list[str] = []
    prompt = _bounded(usage.prompt_tokens, "prompt_tokens", flags)
    completion = _bounded(usage.completion_tokens, "completion_tokens", flags)
    details = usage.prompt_tokens_details
    if details is not None:
        cached = _bounded(details.cached_tokens or 0, "cached_tokens", flags)
        audio = _bounded(details.audio_tokens or 0, "audio_tokens", flags)
        if cached + audio > prompt:
            flags.append("cached_above_prompt")
            cached = min(cached, prompt)
            audio = min(audio, prompt - cached)
        details = PromptTokensDetails(
            audio_tokens=None if details.audio_tokens is None else audio,
            cached_tokens=None if details.cached_tokens is None else cached,
        )
    of_completion = usage.completion_tokens_details
    if of_completion is not None and not 0 <= (of_completion.reasoning_tokens or 0) <= completion:
        flags.append("reasoning_tokens_out_of_bounds")
        bounded = max(0, min(of_completion.reasoning_tokens or 0, completion))
        of_completion = msgspec.structs.replace(of_completion, reasoning_tokens=bounded)
    if not flags and usage.total_tokens == prompt + completion:
        return usage, flags
    clean = msgspec.structs.replace(
        usage,
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=details,
        completion_tokens_details=of_completion,
    )
    return clean, flags


def estimated_tokens(text_bytes: int) -> int:
    """Tokens of text by a rule of thumb, rounded up: bytes / 4, which is about right for English and code."""
    return -(-text_bytes // _BYTES_PER_TOKEN)


def estimated_prompt_tokens(request: ChatRequest, body_bytes: int) -> int:
    """The prompt by a rule of thumb, for where nobody counted: bytes / 4, and images as images, however large their data is."""
    images = [len(image.url) for _, image in images_of(request)]
    return estimated_tokens(body_bytes - sum(images)) + len(images) * IMAGE_TOKENS


def tokens_expected(request: ChatRequest, body_bytes: int) -> int:
    """What counts against tokens per minute until the answer is there: the estimated prompt, and what is asked for."""
    return estimated_prompt_tokens(request, body_bytes) + (request.output_tokens_max or 0) * request.choices_count


def estimated_usage(
    request: ChatRequest, body_bytes: int, received_bytes: int, prompt: int | None, completion: int | None
) -> Usage:
    """The usage of an answer whose provider could not report it: tokens that were counted until then, else bytes / 4."""
    if prompt is None:
        prompt = estimated_prompt_tokens(request, body_bytes)
    if completion is None:
        completion = estimated_tokens(received_bytes)
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def _bounded(count: int, name: str, flags: list[str]) -> int:
    if 0 <= count <= TOKENS_MAX:
        return count
    flags.append(f"{name}_out_of_bounds")
    return max(0, min(count, TOKENS_MAX))


def _credits(tokens: int, rate: int) -> int:
    """Rounded up: -(-a // b)."""
    return -(-tokens * rate // _DENOMINATOR)
