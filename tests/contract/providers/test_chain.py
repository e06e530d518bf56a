"""Two Tollways in a row: the outer one's upstream is the inner one, with a tiny model. Nothing of an answer is lost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.live import LiveServer, serving

INNER, OUTER = "local/tiny", "house/tiny"
PRICE = {"prompt": 3, "completion": 5, "cached_prompt": 1}  # USD per million tokens; a credit is 1/2,000,000 USD
CONFIGURATION = """
[upstreams.inner]
provider = "tollway"
base_url = "{base_url}"
key_file = "inner.key"

[[models]]
id = "house/tiny"
name = "Tiny"
developer = "House"
description = "The inner one's model."
context_length = 8192
output_max = 8192
capabilities = ["streaming", "tools", "parallel_tool_calls", "structured_output"]
price = {{ prompt = "3", completion = "5", cached_prompt = "1" }}
routes = [{{ upstream = "inner", model = "local/tiny" }}]
"""


@pytest.fixture(scope="module")
def outer_server(tiny_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp("outer") / "home"
    home.mkdir()
    (home / "tollway.toml").write_text(CONFIGURATION.format(base_url=tiny_server.base_url))
    (home / "inner.key").write_text(tiny_server.key + "\n")
    with serving(home, local_models="none") as live:
        yield live


def both(inner: LiveServer, outer: LiveServer, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same greedy request at both."""
    request = {"temperature": 0, "seed": 1, "max_tokens": 24, **fields}
    return inner.chat(model=INNER, **request), outer.chat(model=OUTER, **request)


def without_ids(completion: dict[str, Any]) -> Any:
    choices = json.loads(json.dumps(completion["choices"]))
    for choice in choices:
        for call in choice["message"]["tool_calls"] or ():
            call["id"] = ""
    return choices


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"level": {"enum": ["low", "high"]}, "on": {"type": "boolean"}},
                "required": ["level", "on"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("lamp", "heater")
]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
            "required": ["ok", "kind"],
            "additionalProperties": False,
        },
    },
}
REQUESTS: dict[str, dict[str, Any]] = {
    "text": {},
    "several_choices": {"n": 3},
    "logprobs": {"logprobs": True, "top_logprobs": 4},
    "schema": {"response_format": SCHEMA, "max_tokens": 60},
    "required_call": {"tools": TOOLS, "tool_choice": "required", "max_tokens": 100},
    "named_call": {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "heater"}}, "max_tokens": 100},
    "legacy_call": {"functions": [TOOLS[0]["function"]], "function_call": {"name": "lamp"}, "max_tokens": 100},
    "penalties": {"frequency_penalty": 0.5, "presence_penalty": 0.3, "repetition_penalty": 1.1, "top_k": 5, "min_p": 0.05},
    "biased": {"logit_bias": {"40": 5, "41": -100}},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_survives(tiny_server: LiveServer, outer_server: LiveServer, name: str) -> None:
    inner, outer = both(tiny_server, outer_server, **REQUESTS[name])

    assert outer["model"] == OUTER
    assert without_ids(outer) == without_ids(inner)
    assert [outer["usage"][kind] for kind in ("prompt_tokens", "completion_tokens", "total_tokens")] == [
        inner["usage"][kind] for kind in ("prompt_tokens", "completion_tokens", "total_tokens")
    ]


def test_the_cost_is_the_outer_ones_own(tiny_server: LiveServer, outer_server: LiveServer) -> None:
    usage = (completion := outer_server.chat(model=OUTER, max_tokens=10))["usage"]
    cached = (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0
    cost = (usage["prompt_tokens"] - cached) * PRICE["prompt"] + cached * PRICE["cached_prompt"]
    cost += usage["completion_tokens"] * PRICE["completion"]

    assert completion["meta"]["usage"]["credits_used"] == 2 * cost


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_survives(tiny_server: LiveServer, outer_server: LiveServer, include_usage: bool) -> None:
    fields: dict[str, Any] = {"temperature": 0, "seed": 1, "max_tokens": 16, "logprobs": True, "n": 2}
    if include_usage:
        fields["stream_options"] = {"include_usage": True}
    inner, outer = tiny_server.events(model=INNER, **fields), outer_server.events(model=OUTER, **fields)

    def told(events: list[dict[str, Any]]) -> Any:
        text = dict.fromkeys(range(2), "")
        tokens: dict[int, list[Any]] = {index: [] for index in range(2)}
        reasons: dict[int, str | None] = {}
        for event in events:
            for choice in event["choices"]:
                text[choice["index"]] += choice["delta"].get("content") or ""
                tokens[choice["index"]] += (choice["logprobs"] or {}).get("content") or []
                reasons[choice["index"]] = choice["finish_reason"] or reasons.get(choice["index"])
        return text, tokens, reasons

    assert told(outer) == told(inner)
    assert outer[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert ("usage" in outer[-1]) == include_usage
    assert outer[-1]["meta"]["usage"]["credits_used"] > 0


def test_a_result_goes_back_through_both(tiny_server: LiveServer, outer_server: LiveServer) -> None:
    asked = {"role": "user", "content": "Light!"}
    first = outer_server.chat([asked], model=OUTER, tools=TOOLS, tool_choice="required", max_tokens=100)
    message = first["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "done"}
    second = outer_server.chat([asked, message, result], model=OUTER, tools=TOOLS, max_tokens=5, temperature=0)

    assert second["choices"][0]["finish_reason"] in {"stop", "length", "tool_calls"}
    assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]


def test_refusals_keep_their_parameter(tiny_server: LiveServer, outer_server: LiveServer) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "format": "no-such-format"}}}
    body = {"model": OUTER, "messages": [{"role": "user", "content": "x"}]}
    status, problem = outer_server.error(body={**body, "response_format": schema})
    assert (status, problem["error"]["param"]) == (400, "response_format.json_schema.schema")

    status, problem = outer_server.error(body={**body, "messages": [{"role": "user", "content": "word " * 20_000}]})
    assert (status, problem["error"]["code"]) == (400, "context_length_exceeded")


def test_who_answered_is_told(tiny_server: LiveServer, outer_server: LiveServer) -> None:
    asked = {"role": "user", "content": "x", "name": "ann"}  # the inner one knows no names
    body = {"model": OUTER, "messages": [asked], "max_tokens": 2, "frobnicate": 1, "user": "ann"}
    for stream in (False, True):
        _, headers, _ = outer_server.request("POST", "/v1/chat/completions", {**body, "stream": stream})

        assert headers["x-tollway-route"] == "inner/local/tiny; attempts=1"
        assert headers["x-tollway-ignored-parameters"] == "frobnicate, user, messages.name"
