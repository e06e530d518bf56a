"""Usage that upstreams report: whatever they say, what comes out can be charged."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.providers.openai_support import PRICE, route_to

from tollway.metering import credits_for, tariff_of
from tollway.providers.reported_usage import checked_usage
from tollway.wire.chat import Usage

ROUTE = route_to("http://unused")  # its context has 8,192 tokens

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-5, 20_000),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(allow_nan=True),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)
DETAILS = ("audio_tokens", "cached_tokens", "reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
details = st.one_of(junk, st.dictionaries(st.sampled_from(DETAILS), junk))
FIELDS = (
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "cached_tokens", "reasoning_tokens",
)  # fmt: skip
usages = st.one_of(
    junk,
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(FIELDS, junk),
            "prompt_tokens_details": details,
            "completion_tokens_details": details,
        },
    ),
)


@settings(max_examples=3000, deadline=None)
@given(reported=usages, prompt=st.integers(1, 10_000), completion=st.integers(0, 10_000), choices=st.integers(1, 4))
def test_any_usage_can_be_charged(reported: Any, prompt: int, completion: int, choices: int) -> None:
    counted = Usage(prompt, completion, prompt + completion)
    usage, flags = checked_usage(reported, counted, ROUTE, choices)
    flat = msgspec.to_builtins(usage)
    figures = [flat[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    for part in (flat["prompt_tokens_details"], flat["completion_tokens_details"]):
        figures += [value for value in (part or {}).values() if value is not None]

    assert all(type(value) is int and value >= 0 for value in figures)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens <= max(8192, prompt * 4)
    assert usage.completion_tokens <= choices * max(8192, completion * 4) * 2  # the thought may stand beside it
    if usage.prompt_tokens_details is not None:
        parts = usage.prompt_tokens_details
        assert (parts.cached_tokens or 0) + (parts.audio_tokens or 0) <= usage.prompt_tokens
    if usage.completion_tokens_details is not None:
        assert (usage.completion_tokens_details.reasoning_tokens or 0) <= usage.completion_tokens
    assert credits_for(usage, tariff_of(PRICE, 1_000_000)) >= 0
    assert flags or isinstance(reported, dict), "what is not reported is flagged"


@given(prompt=st.integers(1, 8192), completion=st.integers(1, 8192), data=st.data())
def test_sound_usage_passes_as_it_is(prompt: int, completion: int, data: st.DataObject) -> None:
    reported = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": data.draw(st.integers(0, prompt)), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": data.draw(st.integers(0, completion)),
            "accepted_prediction_tokens": data.draw(st.integers(0, completion)),
            "audio_tokens": 0,
            "rejected_prediction_tokens": data.draw(st.integers(0, completion)),
        },
    }

    usage, flags = checked_usage(reported, Usage(5, 5, 10), ROUTE, 1)
    assert (msgspec.to_builtins(usage), flags) == (reported, [])


def test_nothing_reported_for_something_received_is_not_believed() -> None:
    usage, flags = checked_usage({"prompt_tokens": 0, "completion_tokens": 0}, Usage(7, 3, 10), ROUTE, 1)

    assert usage == Usage(7, 3, 10)
    assert flags == ["prompt_tokens_unusable", "completion_tokens_unusable"]


def test_reasoning_may_stand_beside_the_other_figures() -> None:
    reported = {
        "prompt_tokens": 9,
        "total_tokens": 40,
        "completion_tokens": 31,
        "prompt_tokens_details": None,
        "reasoning_tokens": 20,
    }
    usage, _ = checked_usage(reported, Usage(9, 5, 14), ROUTE, 1)
    assert (usage.completion_tokens, usage.total_tokens) == (31, 40)
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 20
