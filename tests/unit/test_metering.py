"""Hostile usage and prices: no debit below zero or above the hold, and nothing that 64 bits cannot hold.

`METERING_CASES` sets how many are tried; the suite makes a slice of what `make faults` makes.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollway.catalog import LOCAL, Model, Price, Route
from tollway.metering import (
    COST_MAX,
    IMAGE_TOKENS,
    TOKENS_MAX,
    bound_for,
    credits_for,
    estimated_usage,
    markup_micro,
    tariff_of,
    tokens_expected,
    trusted_usage,
)
from tollway.providers.reported_usage import checked_usage
from tollway.wire.chat import CompletionTokensDetails, PromptTokensDetails, Usage
from tollway.wire.decode import decode_chat_request

CASES = int(os.environ.get("METERING_CASES", "500"))
_MANY = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)

_edges = st.sampled_from([-(2**63), -(2**31), -1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**40])
counts = st.integers(0, 10_000) | st.integers() | _edges
_or_none = st.none() | counts
usages = st.builds(
    Usage,
    counts,
    counts,
    counts,
    completion_tokens_details=st.none() | st.builds(CompletionTokensDetails, reasoning_tokens=_or_none),
    prompt_tokens_details=st.none() | st.builds(PromptTokensDetails, audio_tokens=_or_none, cached_tokens=_or_none),
)
_amounts = st.decimals("0", "999999.999999", places=6).map(str) | st.sampled_from(["0", "0.000001", "1", "999999.999999"])
prices = st.builds(Price, _amounts, _amounts, _amounts, _amounts)
markups = st.sampled_from(["0", "0.000001", "1.0", "1.25", "9999.999999"])
# what an upstream's JSON may hold where a usage should be
anything = st.recursive(
    st.none() | st.booleans() | counts | st.floats(allow_nan=True, allow_infinity=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
reported = anything | st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": anything,
        "completion_tokens": anything,
        "total_tokens": anything,
        "cached_tokens": anything,
        "prompt_cache_hit_tokens": anything,
        "prompt_tokens_details": st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens"]), anything) | anything,
        "completion_tokens_details": st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens"]), anything)
        | anything,
    },
)


def _route(price: Price, output_max: int = 4096, output_default: int | None = None) -> Route:
    model = Model("m", "m", "m", "", 8192, output_max, price)
    return Route(model, "m", LOCAL, "m", price, 8192, output_max, frozenset(), False, output_default=output_default)


def _assert_sound(usage: Usage, price: Price, markup: str) -> None:
    clean, flags = trusted_usage(usage)
    details, more = clean.prompt_tokens_details, clean.completion_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    audio = (details.audio_tokens or 0) if details else 0
    assert 0 <= clean.prompt_tokens <= TOKENS_MAX
    assert 0 <= clean.completion_tokens <= TOKENS_MAX
    assert clean.total_tokens == clean.prompt_tokens + clean.completion_tokens
    assert min(cached, audio) >= 0
    assert cached + audio <= clean.prompt_tokens
    assert 0 <= ((more.reasoning_tokens or 0) if more else 0) <= clean.completion_tokens
    assert trusted_usage(clean) == (clean, []), "what is sound stays as it is"
    tariff = tariff_of(price, markup_micro(markup))
    cost = credits_for(clean, tariff)
    assert 0 <= cost <= COST_MAX
    dearest = tariff.dearest_prompt * clean.prompt_tokens + tariff.completion * clean.completion_tokens
    assert cost <= -(-dearest // 10**18) + 3, "cached or audio tokens were counted twice"
    if usage.prompt_tokens != clean.prompt_tokens or usage.completion_tokens != clean.completion_tokens:
        assert flags


@pytest.mark.parametrize(
    ("tokens", "markup", "parts"),
    [
        ((1000, 100, 400, 50), "1.0", (110, 80, 8, 30)),
        ((1000, 100, 400, 50), "1.25", (138, 100, 10, 38)),
        ((1000, 100, 0, 0), "1.0", (200, 80, 0, 0)),
        ((1, 1, 0, 0), "1.0", (1, 1, 0, 0)),
        ((3, 1, 1, 1), "1.0", (1, 1, 1, 1)),
        ((0, 0, 0, 0), "1.0", (0, 0, 0, 0)),
        ((1000, 100, 400, 50), "0", (0, 0, 0, 0)),
    ],
)
def test_each_part_is_charged_at_its_price_and_rounded_up(
    tokens: tuple[int, int, int, int], markup: str, parts: tuple[int, int, int, int]
) -> None:
    """Prompt without the cached and audio ones, completion, cached, audio."""
    prompt, completion, cached, audio = tokens
    details = PromptTokensDetails(cached_tokens=cached, audio_tokens=audio)
    usage = Usage(prompt, completion, prompt + completion, prompt_tokens_details=details)
    tariff = tariff_of(Price(prompt="0.10", completion="0.40", cached_prompt="0.01", audio_prompt="0.30"), markup_micro(markup))
    assert credits_for(usage, tariff) == sum(parts)


def test_hostile_usage(record_property: Callable[[str, Any], None]) -> None:
    made = 0

    @_MANY
    @given(usages, prices, markups)
    def check(usage: Usage, price: Price, markup: str) -> None:
        nonlocal made
        made += 1
        _assert_sound(usage, price, markup)

    check()
    record_property("hostile usages and prices", made)


def test_hostile_reports_of_upstreams(record_property: Callable[[str, Any], None]) -> None:
    made = 0

    @_MANY
    @given(reported, prices, markups, st.integers(1, 4))
    def check(said: object, price: Price, markup: str, choices: int) -> None:
        nonlocal made
        made += 1
        usage, _ = checked_usage(said, Usage(10, 5, 15), _route(price), choices, quiet=True)
        assert usage.prompt_tokens >= 1
        assert usage.completion_tokens >= 1, "text came, so it was not made of nothing"
        _assert_sound(usage, price, markup)

    check()
    record_property("hostile reports", made)


def test_the_bound_covers_whatever_a_request_may_use(record_property: Callable[[str, Any], None]) -> None:
    made = 0

    @_MANY
    @given(prices, markups, st.integers(1, 8), st.integers(0, 8192), st.integers(0, 4096), st.data())
    def check(price: Price, markup: str, choices: int, prompt: int, completion: int, data: st.DataObject) -> None:
        nonlocal made
        made += 1
        body = b'{"model":"m","messages":[{"role":"user","content":"%s"}],"n":%d}' % (b"x" * prompt, choices)
        request = decode_chat_request(body)
        bound = bound_for(request, [_route(price)], len(body), markup_micro(markup))
        cached = data.draw(st.integers(0, prompt))
        audio = data.draw(st.integers(0, prompt - cached))
        details = PromptTokensDetails(audio_tokens=audio, cached_tokens=cached)
        total = completion * choices
        usage = Usage(prompt, total, prompt + total, prompt_tokens_details=details)
        assert credits_for(usage, bound.tariff) <= bound.credits
        fitting = bound.output_affordable(bound.credits)
        assert fitting == bound.output_tokens

    check()
    record_property("bounds", made)


_routes = st.lists(st.builds(_route, prices, st.integers(1, 8192), st.none() | st.integers(1, 8192)), min_size=1, max_size=4)


@_MANY
@given(_routes, markups, st.integers(1, 4), st.integers(0, 3000), st.data())
def test_what_is_affordable_is_so_on_whatever_route_answers(
    routes: list[Route], markup: str, choices: int, prompt: int, data: st.DataObject
) -> None:
    """One that costs less in all, because it may say less, may cost more a token."""
    body = b'{"model":"m","messages":[{"role":"user","content":"%s"}],"n":%d}' % (b"x" * prompt, choices)
    request = decode_chat_request(body)
    bound = bound_for(request, routes, len(body), markup_micro(markup))
    money = data.draw(st.integers(bound.credits_min, max(bound.credits, bound.credits_min)))
    limit = bound.output_affordable(money)
    assert limit >= 1
    for route in routes:
        # what the provider asks for; without a limit the context is one
        total = (route.output_limit(limit if money < bound.credits else None) or route.context_tokens) * choices
        cost = credits_for(Usage(prompt, total, prompt + total), tariff_of(route.price, markup_micro(markup)))
        assert cost <= money


def test_what_is_free_needs_no_credits() -> None:
    free = Price("0", "0", "0", "0")
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    bound = bound_for(decode_chat_request(body), [_route(free)], len(body), markup_micro("1.0"))
    assert (bound.credits, bound.credits_min) == (0, 0)
    assert bound.output_affordable(0) == bound.output_tokens


def test_what_nobody_counted_is_estimated_from_bytes() -> None:
    image = "data:image/png;base64," + "A" * 1000
    content = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": image}}]
    body = json.dumps({"model": "m", "n": 2, "max_tokens": 5, "messages": [{"role": "user", "content": content}]}).encode()
    request = decode_chat_request(body)
    prompt = -(-(len(body) - len(image)) // 4) + IMAGE_TOKENS
    assert estimated_usage(request, len(body), 41, None, None) == Usage(prompt, 11, prompt + 11)
    assert estimated_usage(request, len(body), 41, 7, 9) == Usage(7, 9, 16)
    assert tokens_expected(request, len(body)) == prompt + 2 * 5
