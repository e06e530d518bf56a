"""What a request's bound is made of: prompts, choices, messages and images, each counted as high as it can be."""

import json
from typing import Any

from tollway.catalog import Dialect, Model, Price, Route, Upstream
from tollway.metering import IMAGE_TOKENS_MAX, Bound, bound_for, markup_micro
from tollway.wire.decode import decode_chat_request

PRICE = Price("1", "2", "1", "1")
CONTEXT = 1_000_000
USER = {"role": "user", "content": "Hello"}


def _bound(dialect: Dialect = "openai", **fields: Any) -> Bound:
    body = json.dumps({"model": "m", "messages": [USER], "max_tokens": 10} | fields).encode()
    model = Model("m", "m", "m", "", CONTEXT, 4096, PRICE)
    upstream = Upstream("u", dialect, "http://127.0.0.1:9/v1")
    route = Route(model, "m", upstream, "m", PRICE, CONTEXT, 4096, frozenset(), stand_in=False)
    return bound_for(decode_chat_request(body), [route], len(body), markup_micro("1.0"))


def test_the_prompt_is_paid_for_each_choice_where_the_upstream_bills_it_so() -> None:
    one, three = _bound("gemini"), _bound("gemini", n=3)
    assert three.prompt_tokens >= 3 * one.prompt_tokens
    assert three.prompt_credits >= 3 * (one.prompt_credits - 2)  # 2 for rounding, whatever the number
    assert _bound("openai", n=3).prompt_tokens < 2 * one.prompt_tokens


def test_an_image_counts_as_an_image_however_large_its_data_is() -> None:
    def with_image(data: str) -> int:
        parts = [
            {"type": "text", "text": "Hello"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}},
        ]
        return _bound(messages=[{"role": "user", "content": parts}]).prompt_tokens

    small, large = with_image("A" * 8), with_image("A" * 80_000)
    assert small == large
    assert IMAGE_TOKENS_MAX <= small - _bound().prompt_tokens < IMAGE_TOKENS_MAX + 200


def test_each_message_counts_with_the_marks_that_a_template_puts_around_it() -> None:
    few, many = (_bound(messages=[USER] * count).prompt_tokens for count in (1, 101))
    in_the_body = 100 * len(", " + json.dumps(USER))
    assert many - few - in_the_body >= 100 * 8
