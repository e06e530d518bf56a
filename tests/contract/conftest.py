"""A service with three tiny models: fast, real to the engine, and of random weights, so that nothing is right by accident."""

from collections.abc import Iterator

import pytest
from gguf import TokenType
from tests.live import LiveServer, serving
from tests.tiny_gguf import CHAT_TEMPLATE, write_tiny_model, write_tiny_vision

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

THINKING_TEMPLATE = CHAT_TEMPLATE.replace(
    "{{ '<|im_start|>assistant\n' }}",
    "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is not defined or enable_thinking %}{{ '<think>\n' }}{% endif %}",
)


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Serves `local/tiny`, `local/thinker` (its template opens a thought) and `local/seer` (it takes images)."""
    folder = tmp_path_factory.mktemp("tiny")
    store = ModelStore(folder / "models")
    pull(str(write_tiny_model(folder / "tiny.gguf", context_tokens=8192)), store)
    marks = {"<think>": TokenType.USER_DEFINED, "</think>": TokenType.USER_DEFINED}
    thinker = write_tiny_model(folder / "thinker.gguf", chat_template=THINKING_TEMPLATE, extra_tokens=marks)
    pull(str(thinker), store)
    seer = write_tiny_model(folder / "seer.gguf", name="Seer")
    pull(str(seer), store, mmproj=str(write_tiny_vision(folder / "eyes.gguf")))
    with serving(folder / "home", store.path, default_model="tiny", engine_slots="4", engine_threads="1") as live:
        yield live
