"""What `tollway.toml` says of a route to an embedded model holds: how long an answer may be, how much fits, what it can do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.test_local_models import ENDS, never
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

CONFIGURATION = """
[[models]]
id = "acme/capped"
price = { prompt = "0", completion = "20" }
output_max = 20
routes = [{ upstream = "local", model = "tiny" }]
"""
TINY = "local/tiny"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("routes")
    store = ModelStore(folder / "models")
    pull(str(write_tiny_model(folder / "tiny.gguf")), store)
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
