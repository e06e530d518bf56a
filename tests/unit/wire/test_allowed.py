"""What an error tells of a place of the body."""

from typing import Any

import pytest

from tollway.wire.allowed import allowed_at, description_at
from tollway.wire.chat import ChatRequest
from tollway.wire.keys import KeyCreate


@pytest.mark.parametrize(
    ("kind", "path", "words"),
    [
        (ChatRequest, "tool_choice", ["auto", "none", "required"]),
        (ChatRequest, "tool_choice.type", ["function"]),
        (ChatRequest, "messages[0].role", ["assistant", "developer", "function", "system", "tool", "user"]),
        (ChatRequest, "messages[12].content[3].image_url.detail", ["auto", "high", "low"]),
        (ChatRequest, "response_format.type", ["json_object", "json_schema", "text"]),
        (KeyCreate, "limit.retention", ["day", "month", "no_reset", "week"]),
    ],
)
def test_the_words_that_may_stand_at_a_place(kind: Any, path: str, words: list[str]) -> None:
    assert allowed_at(kind, path) == words


@pytest.mark.parametrize("path", ["", "model", "metadata[...]", "no.such[0].place", "tools[0]"])
def test_where_any_value_may_stand_there_are_no_words(path: str) -> None:
    assert allowed_at(ChatRequest, path) == []


def test_there_are_none_where_the_path_does_not_tell_which_count() -> None:
    """A part of the user's may be an image, one of the assistant's a refusal."""
    assert allowed_at(ChatRequest, "messages[0].content[0].type") == []


def test_what_is_said_of_a_place() -> None:
    assert description_at(ChatRequest, "functions[0].name") == "Letters, digits, `_` and `-`; at most 64."
    assert description_at(ChatRequest, "messages[0].role") == ""
