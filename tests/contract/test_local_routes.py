"""What `tollway.toml` says of a route to an embedded model holds: how long an answer may be, how much fits, what it can do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.test_local_models import ENDS, never, picture_message, png
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model, write_tiny_vision

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

CONFIGURATION = """
[[models]]
id = "acme/capped"
price = { prompt = "0", completion = "20" }
output_max = 20
routes = [{ upstream = "local", model = "tiny" }]

[[models]]
id = "acme/narrow"
context_length = 200
routes = [{ upstream = "local", model = "tiny" }, { upstream = "local", model = "seer", priority = 1, context_length = 9000 }]

[[models]]
id = "acme/narrow-route"
price = { prompt = "20", completion = "0" }
routes = [{ upstream = "local", model = "tiny", context_length = 50 }]

[[models]]
id = "acme/plain"
capabilities = ["streaming"]
routes = [{ upstream = "local", model = "tiny" }]

[[models]]
id = "acme/either"
routes = [
    { upstream = "local", model = "tiny", capabilities = [] },
    { upstream = "local", model = "seer", priority = 1, capabilities = ["tools"] },
]

[[models]]
id = "acme/narrow-eyes"
routes = [{ upstream = "local", model = "seer", context_length = 200 }]
"""
TINY = "local/tiny"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("routes")
    store = ModelStore(folder / "models")
    pull(str(write_tiny_model(folder / "tiny.gguf")), store)
    seer = write_tiny_model(folder / "seer.gguf", name="Seer")
    pull(str(seer), store, mmproj=str(write_tiny_vision(folder / "eyes.gguf")))
    (folder / "home").mkdir()
    (folder / "home" / "tollway.toml").write_text(CONFIGURATION)
    with serving(folder / "home", store.path, default_model="tiny", engine_slots="2", engine_threads="1") as live:
        yield live


def endless(server: LiveServer) -> dict[str, Any]:
    """Fields by which an answer ends at its limit."""
    return {"temperature": 1, "logit_bias": never(server, TINY, *ENDS)}


def previewed(server: LiveServer, **body: Any) -> dict[str, Any]:
    """What the request may cost at the most."""
    _, _, raw = server.request("POST", "/v1/chat/completions", body, {"x-tollway-dry-run": "true"})
    preview: dict[str, Any] = json.loads(raw)
    return preview


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 200}, {"max_completion_tokens": 7}])
def test_no_answer_is_longer_than_what_is_held_for_it(house: LiveServer, fields: dict[str, Any]) -> None:
    fields = {"model": "acme/capped", **fields, **endless(house)}
    preview = previewed(house, messages=[{"role": "user", "content": "Hello"}], **fields)
    completion = house.chat(**fields)

    limit = fields.get("max_completion_tokens", 20)
    assert (completion["usage"]["completion_tokens"], completion["choices"][0]["finish_reason"]) == (limit, "length")
    assert completion["meta"]["usage"]["credits_used"] == preview["credits_max"] == limit * 40


@pytest.mark.parametrize(("model", "context"), [("acme/narrow-route", 50), ("acme/narrow-eyes", 200)])
def test_a_prompt_beyond_the_routes_context_is_a_400_with_both_numbers(house: LiveServer, model: str, context: int) -> None:
    status, problem = house.error(body={"model": model, "messages": [{"role": "user", "content": "word " * 60}]})

    assert (status, problem["error"]["code"]) == (400, "context_length_exceeded")
    assert problem["error"]["data"]["context_tokens"] == context
    assert problem["error"]["data"]["prompt_tokens"] > 300


def test_prompt_and_answer_share_the_context_of_the_route(house: LiveServer) -> None:
    fields = {"model": "acme/narrow", **endless(house)}
    preview = previewed(house, messages=[{"role": "user", "content": "Hello"}], **fields)
    usage = house.chat(**fields)["usage"]
    by_images = house.chat(picture_message(png(9, 9, 9), text="x"), model="acme/narrow-eyes", **endless(house))["usage"]
    _, _, raw = house.request("GET", "/v1/models?include=all")

    assert usage["total_tokens"] == 200
    assert usage["completion_tokens"] > 100
    assert by_images["total_tokens"] == 200
    assert preview["prompt_tokens_max"] == 2048, "seer's engine has no 9,000"
    lengths = {model["id"]: model["info"]["contextLength"] for model in json.loads(raw)["data"] if "info" in model}
    assert (lengths["acme/narrow"], lengths["acme/narrow-route"]) == (200, 50)


def test_another_route_answers_what_does_not_fit(house: LiveServer) -> None:
    assert house.chat("word " * 60, model="acme/narrow", max_tokens=2)["model"] == "local/seer"


TOOLS = [{"type": "function", "function": {"name": "f"}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": SCHEMA}, "response_format"),
    ],
)
def test_what_a_route_is_said_not_to_do_is_a_400(house: LiveServer, fields: dict[str, Any], param: str) -> None:
    status, problem = house.error(body={"model": "acme/plain", "messages": [{"role": "user", "content": "x"}], **fields})

    assert (status, problem["error"]["code"], problem["error"]["param"]) == (400, "unsupported_parameter", param)


def test_a_route_that_cannot_is_left_out_where_another_can(house: LiveServer) -> None:
    assert house.chat(model="acme/either", max_tokens=2)["model"] == TINY
    assert house.chat(model="acme/either", max_tokens=2, tools=TOOLS, tool_choice="none")["model"] == TINY
    assert house.chat(model="acme/either", max_tokens=2, tools=TOOLS)["model"] == "local/seer"
