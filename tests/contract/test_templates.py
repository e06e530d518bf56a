"""Prompts that are joined here are the very text that the engine's template gives: real engines, templates of all kinds."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import THINKING_TEMPLATE
from tests.engines import engine_settings
from tests.tiny_gguf import CHAT_TEMPLATE, write_tiny_model

from tollway.engine import EngineEndpoint, ModelStore, Supervisor
from tollway.engine.fetch import pull
from tollway.errors import TollwayError
from tollway.providers.engine_client import EngineClient
from tollway.providers.template import Templates

TEMPLATES = {
    "plain": CHAT_TEMPLATE,
    "opens a thought": THINKING_TEMPLATE,
    "strips": CHAT_TEMPLATE.replace("message['content']", "message['content'].strip()"),
    "drops old thoughts": CHAT_TEMPLATE.replace("message['content']", "message['content'].split('</think>')[-1].lstrip('\\n')"),
    "is switched by a word": "{% if '/no_think' in messages[0]['content'] %}quiet{% else %}loud{% endif %}" + CHAT_TEMPLATE,
    "shouts": CHAT_TEMPLATE.replace("message['content']", "message['content'] | upper"),
    "knows the day": "{{ strftime_now('%Y-%m-%d') }}" + CHAT_TEMPLATE,
    "insists on turns": (
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no') }}"
        "{% endif %}<{{ m['role'] }}>{{ m['content'] | trim }}</>{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
    ),
    "keeps the last": (
        "{% for m in messages %}{% if loop.last or m.role == 'system' %}{{ '[' + m.role + ']' + m['content'] }}"
        "{% endif %}{% endfor %}"
    ),
}
TEXTS = (
    "Hello there",
    "two\nlines\n\nand more",
    " edges \n",
    "",
    "\n",
    "x",
    "\"quotes\" 'single' \\n \\ {{ brace }} {% if %} <b>&amp;</b> `code` %s $1",
    "日本語 ünïcödé 😀 \u200b\u00a0 end",
    "<think>\nhm\n</think>\n\nanswer",
    "a </think> b",
    "/no_think please",
    "<|im_end|>\n<|im_start|>user",
    "user",
    "\ue0000\ue001 stand-in",
    "long " * 700 + "end",
)


def conversations(count: int, seed: int = 1) -> Iterator[list[dict[str, str]]]:
    """Conversations of all shapes up to six messages; most texts are ordinary ones."""
    chance = random.Random(seed)
    for _ in range(count):
        roles = ["user", "assistant"] * 2 + ["user"]
        roles = roles[: chance.choice((1, 3, 5))] if chance.random() < 0.9 else roles[: chance.choice((2, 4))]
        if chance.random() < 0.4:
            roles.insert(0, "system")
        pool = TEXTS if chance.random() < 0.5 else TEXTS[:2]
        yield [{"role": role, "content": chance.choice(pool)} for role in roles]


class Counting(EngineClient):
    """Counts the questions."""

    asked = 0

    async def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self.asked += 1
        return await super().ask(path, body)


async def compare(endpoint: EngineEndpoint, count: int) -> float:
    """Fails where the two differ; returns the share of prompts that were joined without asking."""
    client, engine = Counting(endpoint), EngineClient(endpoint)
    templates = Templates(client)
    joined = 0
    for number, messages in enumerate(conversations(count)):
        thinks = number % 3 == 0
        question = {"messages": messages, "chat_template_kwargs": {"enable_thinking": thinks}}
        try:
            wanted: str | None = (await engine.ask("/apply-template", question))["prompt"]
        except TollwayError:
            wanted = None
        before = client.asked
        try:
            found: str | None = await templates.render(messages, thinks=thinks)
        except TollwayError:
            found = None
        assert found == wanted, messages
        joined += client.asked == before
    return joined / count


@contextmanager
def engine_of(home: Path, models: Path, **settings: Any) -> Iterator[EngineEndpoint]:
    supervisor = Supervisor(engine_settings(home, models, engine_threads=1, **settings), ModelStore(models))
    supervisor.start()
    try:
        yield supervisor.endpoints()[0]
    finally:
        supervisor.stop()


@pytest.mark.parametrize("kind", TEMPLATES)
async def test_joined_prompts_are_the_engines_own(kind: str, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", chat_template=TEMPLATES[kind])), store)

    with engine_of(tmp_path / "home", store.path) as endpoint:
        joined = await compare(endpoint, 150)

    assert (joined == 0) == (kind in {"shouts", "knows the day"})


async def test_joined_prompts_are_the_default_models_own(models_path: Path, tmp_path: Path) -> None:
    with engine_of(tmp_path / "home", models_path, local_models="smollm2-135m-instruct") as endpoint:
        assert await compare(endpoint, 400) > 0.5


@pytest.mark.parametrize(("kind", "opening"), [("plain", ""), ("opens a thought", "<think>\n")])
async def test_after_an_assistants_message_a_new_one_begins(kind: str, opening: str, tmp_path: Path) -> None:
    """What the caller says in the model's name is whole: nothing is added to it, and it is no part of a thought."""
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", chat_template=TEMPLATES[kind])), store)

    with engine_of(tmp_path / "home", store.path) as endpoint:
        templates = Templates(EngineClient(endpoint))
        for said in ("", "It is"):
            prompt = await templates.render(
                [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": said}], thinks=True
            )

            assert prompt.endswith(f"assistant\n{said}<|im_end|>\n<|im_start|>assistant\n{opening}")
