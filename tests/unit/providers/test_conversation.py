"""The conversation in the words that every template understands."""

import json
from typing import Any

from tollway.providers.conversation import plain_messages
from tollway.wire.decode import decode_chat_request

USER = {"role": "user", "content": "The weather?"}


def plain(*messages: dict[str, Any]) -> list[dict[str, str]]:
    request = decode_chat_request(json.dumps({"model": "m", "messages": messages}).encode())
    return plain_messages(request)


def calling(**cities: str) -> dict[str, Any]:
    """An assistant message with a call for each city, by its id."""
    calls = [
        {"id": name, "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
        for name, city in cities.items()
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(of: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": of, "content": text}


def test_results_stand_in_the_order_of_their_calls() -> None:
    in_order = plain(USER, calling(a="Paris", b="Oslo"), result("a", "sun"), result("b", "snow"))
    sent_otherwise = plain(USER, calling(a="Paris", b="Oslo"), result("b", "snow"), result("a", "sun"))
    swapped = plain(USER, calling(a="Paris", b="Oslo"), result("b", "sun"), result("a", "snow"))

    assert in_order == sent_otherwise
    assert in_order[-1]["content"].index("sun") < in_order[-1]["content"].index("snow")
    assert swapped[-1]["content"].index("snow") < swapped[-1]["content"].index("sun")


def test_each_turn_has_an_order_of_its_own_and_nothing_else_moves() -> None:
    messages = plain(
        USER, calling(a="Paris", b="Oslo"), result("b", "2"), result("a", "1"), calling(b="Rome", a="Bern"),
        result("a", "4"), result("b", "3"), {"role": "user", "content": "5"}, result("a", "6"),
    )  # fmt: skip

    assert "".join(character for message in messages for character in message["content"] if character.isdigit()) == "123456"
