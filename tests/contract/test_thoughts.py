"""`reasoning_effort` bounds a thought, whoever opened it: the template or the model. Real engines, budgets of a few tokens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import TokenType
from starlette.types import ASGIApp
from tests import asgi
from tests.contract.conftest import THINKING_TEMPLATE
from tests.engines import engine_settings
from tests.tiny_gguf import CHAT_TEMPLATE, write_tiny_model

from tollway.accounts import Accounts, load_secret
from tollway.app import WorkerConfig, build
from tollway.catalog import shipped_configuration
from tollway.engine import EngineEndpoint, ModelStore, Supervisor
from tollway.engine.facts import read_vocabulary
from tollway.engine.fetch import pull
from tollway.providers import local
from tollway.providers.engine_client import EngineClient
from tollway.storage import Database

TEMPLATES = {
    "thinker": THINKING_TEMPLATE,  # opens the thought
    "muser": "{# knows <think> #}" + CHAT_TEMPLATE,  # leaves that to the model
}
BUDGET = 6
SLOW = {"logprobs": True, "top_logprobs": 20}  # some 4 ms a token, so that a thousand of them are seconds


class Api:
    """The application in this process, so that the budgets can be made small."""

    def __init__(
        self, app: ASGIApp, key: str, engines: list[EngineEndpoint], vocabularies: dict[str, dict[bytes, int]]
    ) -> None:
        self._app = app
        self._key = key
        self._engines = {engine.model: engine for engine in engines}
        self._vocabularies = vocabularies

    async def slots(self, model: str) -> list[dict[str, Any]]:
        """What the engine of a model is doing."""
        slots: Any = await EngineClient(self._engines[model]).ask("/slots")
        return list(slots)

    def bias(self, model: str, never: tuple[str, ...] = (), likely: tuple[str, ...] = ()) -> dict[str, float]:
        """Whole characters only, no end of the turn, none of `never`, and rather one of `likely`."""
        never_said = {text.encode() for text in (*never, "<|endoftext|>", "<|im_start|>", "<|im_end|>")}
        tokens = self._vocabularies[model]
        wanted = {str(tokens[text.encode()]): 100.0 for text in likely}
        return {str(number): -100.0 for text, number in tokens.items() if text in never_said or not text.isascii()} | wanted

    async def ask(self, model: str, **fields: Any) -> dict[str, Any]:
        body = {"model": f"local/{model}", "messages": [{"role": "user", "content": "Hi"}], "temperature": 1, **fields}
        headers = {"authorization": f"Bearer {self._key}"}
        reply = await asgi.call(self._app, "POST", "/v1/chat/completions", headers=headers, json_body=body)
        assert reply.status == 200, reply.body
        return _folded(reply.body.decode()) if fields.get("stream") else reply.json


def _folded(text: str) -> dict[str, Any]:
    """A stream's events as one completion."""
    events = [json.loads(line) for line in text.replace("data: ", "").split("\n\n") if line.startswith("{")]
    assert text.endswith("data: [DONE]\n\n")
    choices: dict[int, dict[str, Any]] = {}
    for piece in (choice for event in events for choice in event["choices"]):
        whole = choices.setdefault(piece["index"], {"message": {"content": ""}, "finish_reason": None, "logprobs": None})
        for name in ("content", "reasoning_content"):
            if piece["delta"].get(name):
                whole["message"][name] = whole["message"].get(name, "") + piece["delta"][name]
        assert whole["finish_reason"] is None
        whole["finish_reason"] = piece["finish_reason"]
    usage = events[-1].get("usage")
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("thoughts")
    store = ModelStore(folder / "models")
    marks = {"<think>": TokenType.USER_DEFINED, "</think>": TokenType.USER_DEFINED}
    for name, template in TEMPLATES.items():
        pull(str(write_tiny_model(folder / f"{name}.gguf", chat_template=template, extra_tokens=marks)), store)
    settings = engine_settings(folder / "home", store.path, engine_threads=1, engine_slots=3, billing=False)
    settings.home.mkdir(exist_ok=True)
    supervisor = Supervisor(settings, store)
    supervisor.start()
    try:
        database = Database(settings.database)
        database.migrate()
        new = await Accounts(database, load_secret(settings.home)).bootstrap()
        assert new
        vocabularies = {
            name: {token: number for number, token in enumerate(read_vocabulary(Path(store.vocabulary_path(name))))}
            for name in TEMPLATES
        }
        app = build(WorkerConfig(settings, supervisor.endpoints(), shipped_configuration()))
        yield Api(app, new.secret, supervisor.endpoints(), vocabularies)
        database.close()
    finally:
        supervisor.stop()


@pytest.fixture(autouse=True)
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local.REASONING_BUDGETS, "low", BUDGET)


STREAMS = [{}, {"stream": True, "stream_options": {"include_usage": True}}]


def counted(completion: dict[str, Any]) -> tuple[int, int]:
    """(completion tokens, reasoning tokens)"""
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    return usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]


@pytest.mark.parametrize("way", STREAMS, ids=["whole", "streamed"])
async def test_a_thought_of_the_template_is_bounded(api: Api, way: dict[str, Any]) -> None:
    bias = api.bias("thinker", never=("</think>",))
    completion = await api.ask("thinker", reasoning_effort="low", max_tokens=20, logit_bias=bias, seed=1, **way)
    [choice] = completion["choices"]

    assert len(choice["message"]["reasoning_content"]) >= 1
    assert choice["message"]["content"]
    assert "</think>" not in choice["message"]["content"] + choice["message"]["reasoning_content"]
    assert choice["finish_reason"] == "length"
    assert counted(completion) == (20, BUDGET)


@pytest.mark.parametrize("way", STREAMS, ids=["whole", "streamed"])
async def test_a_thought_of_the_model_is_bounded(api: Api, way: dict[str, Any]) -> None:
    bias = api.bias("muser", never=("</think>",), likely=("<think>",))
    completion = await api.ask("muser", reasoning_effort="low", max_tokens=20, logit_bias=bias, seed=1, **way)
    tokens, reasoning = counted(completion)

    assert tokens == 20
    assert 1 <= reasoning <= BUDGET + 3  # its opening and closing marks are tokens too
    assert completion["choices"][0]["message"]["content"]


async def test_without_an_effort_a_thought_is_free(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",))

    assert counted(await api.ask("thinker", max_tokens=20, logit_bias=bias)) == (20, 20)


async def test_a_thought_that_ends_by_itself_goes_over_into_the_answer(api: Api) -> None:
    bias = api.bias("thinker", likely=("</think>",)) | {str(api._vocabularies["thinker"][b"a"]): 100.0}
    completion = await api.ask("thinker", reasoning_effort="high", max_tokens=12, logit_bias=bias, seed=5, logprobs=True)
    [choice] = completion["choices"]
    tokens, reasoning = counted(completion)

    assert tokens == 12
    assert reasoning < 12
    assert set(choice["message"].get("reasoning_content", "a")) <= {"a"}
    assert len(choice["logprobs"]["content"]) == 12
    assert choice["logprobs"]["content"][reasoning - 1]["token"] == "</think>"


@pytest.mark.parametrize("tokens_max", [1, BUDGET - 1, BUDGET, BUDGET + 1])
async def test_max_tokens_counts_over_both(api: Api, tokens_max: int) -> None:
    bias = api.bias("thinker", never=("</think>",))
    completion = await api.ask("thinker", reasoning_effort="low", max_tokens=tokens_max, logit_bias=bias, temperature=0)

    assert counted(completion) == (tokens_max, min(tokens_max, BUDGET))
    assert completion["choices"][0]["finish_reason"] == "length"
    assert bool(completion["choices"][0]["message"]["content"]) == (tokens_max > BUDGET)


async def test_several_choices_are_each_bounded_and_the_prompt_counts_once(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",))
    one = await api.ask("thinker", reasoning_effort="low", max_tokens=15, logit_bias=bias, seed=3)
    completion = await api.ask("thinker", reasoning_effort="low", max_tokens=15, logit_bias=bias, seed=3, n=4)  # 3 slots

    assert counted(completion) == (60, 4 * BUDGET)
    assert completion["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert len({choice["message"]["content"] for choice in completion["choices"]}) == 4
    assert completion["choices"][0]["message"] == one["choices"][0]["message"]


async def test_the_same_seed_gives_the_same_thought_and_answer(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",))

    async def ask(**way: Any) -> dict[str, Any]:
        completion = await api.ask("thinker", reasoning_effort="low", max_tokens=30, logit_bias=bias, seed=7, **way)
        message = completion["choices"][0]["message"]
        return {name: message[name] for name in ("content", "reasoning_content")}

    assert await ask() == await ask() == await ask(stream=True, stream_options={"include_usage": True})


async def test_logprobs_cover_both(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",))
    completion = await api.ask(
        "thinker", reasoning_effort="low", max_tokens=18, logit_bias=bias, logprobs=True, top_logprobs=2, seed=2
    )
    [choice] = completion["choices"]
    entries = choice["logprobs"]["content"]
    said = b"".join(bytes(entry["bytes"]) for entry in entries).decode()

    assert len(entries) == 18
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    assert said[:BUDGET].lstrip() == choice["message"]["reasoning_content"]
    assert said[BUDGET:].lstrip() == choice["message"]["content"]


async def test_stop_sequences_end_the_answer_and_not_the_thought(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",), likely=("a",))
    completion = await api.ask("thinker", reasoning_effort="low", max_tokens=18, logit_bias=bias, stop=["aaa"])
    [choice] = completion["choices"]

    assert choice["message"]["reasoning_content"] == "a" * BUDGET
    assert choice["message"]["content"] == ""
    assert choice["finish_reason"] == "stop"
    assert counted(completion) == (BUDGET + 3, BUDGET)


@pytest.mark.parametrize("way", STREAMS, ids=["whole", "streamed"])
async def test_nor_do_they_end_a_thought_that_has_no_bound(api: Api, way: dict[str, Any]) -> None:
    bias = api.bias("thinker", never=("</think>",), likely=("a",))
    completion = await api.ask("thinker", max_tokens=18, logit_bias=bias, stop=["aaa"], **way)
    [choice] = completion["choices"]

    assert choice["message"]["reasoning_content"] == "a" * 18
    assert choice["finish_reason"] == "length"
    assert counted(completion) == (18, 18)


async def test_tools_leave_a_bounded_thought_alone(api: Api) -> None:
    parameters = {"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"], "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    bias = api.bias("thinker", never=("</think>",))
    completion = await api.ask("thinker", reasoning_effort="low", max_tokens=60, logit_bias=bias, tools=tools)

    assert counted(completion) == (60, BUDGET)


async def test_the_prompt_is_counted_without_the_thought(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",))
    short = await api.ask("thinker", reasoning_effort="low", max_tokens=1, logit_bias=bias)
    long = await api.ask("thinker", reasoning_effort="low", max_tokens=40, logit_bias=bias)

    assert long["usage"]["prompt_tokens"] == short["usage"]["prompt_tokens"]


async def test_who_leaves_during_the_answer_frees_its_slot(api: Api) -> None:
    bias = api.bias("thinker", never=("</think>",))
    answer = api.ask("thinker", reasoning_effort="low", max_tokens=1900, logit_bias=bias, n=2, stream=True, **SLOW)
    asking = asyncio.create_task(answer)
    await _until(lambda slots: sum(slot["is_processing"] for slot in slots) == 2, api)
    await asyncio.sleep(0.05)  # the thoughts take a few milliseconds

    asking.cancel()

    await _until(lambda slots: not any(slot["is_processing"] for slot in slots), api)
    assert asking.cancelled()


@pytest.mark.parametrize("way", STREAMS, ids=["whole", "streamed"])
async def test_the_engine_stops_at_a_stop_sequence_that_we_find(api: Api, way: dict[str, Any]) -> None:
    bias = api.bias("thinker", never=("</think>",), likely=("a",))
    tools = [{"type": "function", "function": {"name": "f"}}]
    max_tokens = 1500 + len(way)  # by which its place at the engine is known
    completion = await api.ask(
        "thinker", reasoning_effort="none", max_tokens=max_tokens, logit_bias=bias, tools=tools, stop="aaaaa", **SLOW, **way
    )
    usage = completion["usage"]
    await _until(lambda slots: not any(slot["is_processing"] for slot in slots), api)
    [held] = [
        slot["n_prompt_tokens"] for slot in await api.slots("thinker") if slot.get("params", {}).get("max_tokens") == max_tokens
    ]

    assert usage["completion_tokens"] == 5
    assert held < usage["prompt_tokens"] + 1000  # it had generated a few more by the time that it heard of it


async def _until(true: Callable[[list[dict[str, Any]]], bool], api: Api) -> None:
    for _ in range(500):
        if true(await api.slots("thinker")):
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within 5 s")
