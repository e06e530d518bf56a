"""The README is true: its snippets run, and its tables leave nothing out."""

import re
from pathlib import Path

import pytest
from tests import snippets
from tests.live import LiveServer

from tollway.wire.chat import ChatRequest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|javascript|sh)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
CALLS = [(language, code) for language, code in BLOCKS if "<YOUR_API_KEY>" in code]


def test_the_first_call_is_shown_in_three_languages() -> None:
    assert {language for language, _ in CALLS} == {"python", "javascript", "sh"}


@pytest.mark.parametrize(
    ("language", "code"), CALLS, ids=[f"{number}-{language}" for number, (language, _) in enumerate(CALLS)]
)
def test_each_snippet_prints_an_answer(server: LiveServer, language: str, code: str) -> None:
    assert "http://127.0.0.1:8080" in code

    output = snippets.run(language, code.replace("http://127.0.0.1:8080", server.url).replace("<YOUR_API_KEY>", server.key))

    assert output.strip()
    assert '"error"' not in output


def test_the_table_names_every_parameter() -> None:
    section = README.partition("## What each parameter does")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]

    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(ChatRequest.__struct_fields__)
