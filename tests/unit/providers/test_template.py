"""Joining prompts here: only where the engine's template would write the same."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.tiny_gguf import CHAT_TEMPLATE

from tollway.errors import BadGateway
from tollway.providers import template
from tollway.providers.engine_client import EngineClient
from tollway.providers.template import TemplateRules, Templates

Rendering = Callable[[list[dict[str, str]]], str]


class FakeEngine:
    """Renders by a function, says that its template is `source`, and counts the questions."""

    def __init__(self, render: Rendering, source: str = CHAT_TEMPLATE) -> None:
        self.asked: list[list[dict[str, str]]] = []
        self._render = render
        self._source = source

    async def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if body is None:
            assert path == "/props"
            return {"chat_template": self._source}
        self.asked.append(body["messages"])
        return {"prompt": self._render(body["messages"])}

    @property
    def templates(self) -> Templates:
        return Templates(cast("EngineClient", self))


def marked(messages: list[dict[str, str]]) -> str:
    return "".join(f"<{m['role']}>{m['content']}</>" for m in messages)


def talk(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


# --- what is joined, and what is asked --------------------------------------------------------------------------------


async def test_a_known_sequence_of_roles_is_not_asked_again() -> None:
    engine = FakeEngine(marked)
    templates = engine.templates

    for contents in (("a", "b", "c"), ("d\nd", "<b>é", "{{ f }}"), ("x" * 9999, "y", "z")):
        assert await templates.render(talk(*contents), thinks=False) == marked(talk(*contents))

    assert len(engine.asked) == 3  # the first conversation and its two probes


async def test_other_roles_and_other_thinking_are_another_sequence() -> None:
    engine = FakeEngine(marked)
    templates = engine.templates

    for thinks in (True, False):
        for conversation in (talk("a"), talk("a", "b"), [{"role": "system", "content": "s"}, *talk("a")]):
            assert await templates.render(conversation, thinks=thinks) == marked(conversation)

    assert len(engine.asked) == 6 * 3


@pytest.mark.parametrize(
    "render",
    [
        lambda messages: marked([{**m, "content": m["content"].upper()} for m in messages]),
        lambda messages: marked([{**m, "content": m["content"].replace("\n", " ")} for m in messages]),
        lambda messages: marked([{**m, "content": m["content"].replace("<", "&lt;")} for m in messages]),
        lambda messages: marked([{**m, "content": m["content"][:50]} for m in messages]),
        lambda messages: marked(messages[-1:]),
        lambda messages: marked(messages) + messages[0]["content"],
        lambda messages: marked(messages[::-1]),
    ],
    ids=["upper", "one-line", "escaped", "cut", "dropped", "repeated", "reordered"],
)
async def test_a_template_that_does_more_than_write_is_asked_each_time(render: Rendering) -> None:
    engine = FakeEngine(render)
    templates = engine.templates

    for contents in (("a", "b", "c"), ("1", "2", "3"), ("d\n<d>", "e" * 99, "F")):
        assert await templates.render(talk(*contents), thinks=False) == render(talk(*contents))

    assert engine.asked[-1] == talk("d\n<d>", "e" * 99, "F")


async def test_what_the_template_looks_for_is_left_to_it() -> None:
    def render(messages: list[dict[str, str]]) -> str:
        return marked([{**m, "content": m["content"].split("</think>")[-1].strip("#")} for m in messages])

    source = "{{ m.content.split('</think>')[-1].strip('#') }}"
    engine = FakeEngine(render, source)
    templates = engine.templates
    for contents in (("a",), ("b </think> c",), ("#d",), (" e",), ("",), ("f",)):
        assert await templates.render(talk(*contents), thinks=False) == render(talk(*contents))

    asked = [messages[0]["content"] for messages in engine.asked]
    assert asked[0] == "a"
    assert asked[3:] == ["b </think> c", "#d", " e", ""]


async def test_a_template_that_knows_the_day_is_always_asked() -> None:
    engine = FakeEngine(marked, "{{ strftime_now('%d') }}" + CHAT_TEMPLATE)
    templates = engine.templates

    for _ in range(3):
        await templates.render(talk("a"), thinks=False)

    assert len(engine.asked) == 3


async def test_refusals_of_the_template_stay_refusals() -> None:
    def refuse(_: list[dict[str, str]]) -> str:
        raise BadGateway("no such role here")

    templates = FakeEngine(refuse).templates
    for _ in range(2):
        with pytest.raises(BadGateway, match="no such role"):
            await templates.render(talk("a"), thinks=False)


async def test_a_probe_that_fails_costs_nothing_but_the_cache() -> None:
    def touchy(messages: list[dict[str, str]]) -> str:
        if messages != talk("a"):
            raise BadGateway("down")
        return marked(messages)

    engine = FakeEngine(touchy)
    templates = engine.templates
    for _ in range(2):
        assert await templates.render(talk("a"), thinks=False) == marked(talk("a"))

    assert len(engine.asked) == 6


async def test_only_so_many_sequences_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "SHAPES_MAX", 2)
    engine = FakeEngine(marked)
    templates = engine.templates

    for length in (1, 2, 3, 3, 1):
        await templates.render(talk(*"abc"[:length]), thinks=False)

    assert len(engine.asked) == 4 * 3


# --- reading the code -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "inside", "edges"),
    [
        (CHAT_TEMPLATE, (), ""),
        ("{{- '<s>' ~ (('a') if x else 'b') + \"c\" -}}", (), ""),
        ("{% if m['content'] == \"/no_think\" %}", ("/no_think",), ""),
        ("{% if m['role'] == 'user' and 'user' != m.role or m.role in ['tool', \"system\"] %}", (), ""),
        ("{% if 'think' in m['content'] %}", ("think",), ""),
        ("{{ '<' + 'think>' in m.content }}", ("<", "think>"), ""),
        ("{{ m.content.split('<' + 'x')[0] }}", ("<", "x"), ""),
        ("{{ m.content.strip('\\n').lstrip('-') }}", (), "\n-"),
        ("{{ m.content | replace('a', \"it's\") }}", ("a", "it's"), ""),
        ("{% set x = 'mark' %}{{ x in m.content }}", ("mark",), ""),
        ("{# 'not code' #}'nor this'{{ {'a': {'b': 'c'}}['a'] + 'd' }}", ("b", "c"), ""),
        ("{{ {'k': 'v'}.k }}{{ f('after') }}", ("after", "k", "v"), ""),
    ],
)
def test_what_a_template_could_react_to(source: str, inside: tuple[str, ...], edges: str) -> None:
    rules = TemplateRules.read(source)

    assert rules is not None
    assert set(inside) <= set(rules.inside)
    assert len(rules.inside) <= len(inside) + 1
    assert set(rules.edges) == set(edges)


@pytest.mark.parametrize(
    "source",
    [
        "{{ strftime_now('%Y') }}",
        "{% if not date_string is defined %}",
        "{{ ['a', 'b'] | random }}",
        "{{ 'think' in m.content | lower }}",
        "{{ 'never closed }}",
        "{% if",
        "{# never closed",
        "{{ m.content == '\\u0041' }}",
    ],
)
def test_a_template_that_cannot_be_followed_has_no_rules(source: str) -> None:
    assert TemplateRules.read(source) is None


@pytest.mark.parametrize("text", ["", " a", "a\n", "a <think> b", "-a", "a-"])
def test_what_is_not_plain(text: str) -> None:
    assert not TemplateRules(("<think>",), "-").plain(text)


@pytest.mark.parametrize("text", ["a", "a - b", "two\nlines", "<b>", "\u0301a"])
def test_what_is_plain(text: str) -> None:
    assert TemplateRules(("<think>",), "-").plain(text)
