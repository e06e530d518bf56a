import json
from typing import Any

import pytest

from tollway.providers import constraint
from tollway.providers.constraint import constraint_for
from tollway.wire.decode import decode_chat_request


def grammar_of(schema: dict[str, Any]) -> str:
    answer = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "response_format": answer}
    return constraint_for(decode_chat_request(json.dumps(body).encode())).grammar


@pytest.mark.parametrize(("description", "remembered"), [("short", True), ("x" * 70_000, False)])
def test_only_small_schemas_are_remembered(description: str, remembered: bool) -> None:
    """Else a caller who asks for nothing but the price could fill the memory with his schemas."""
    constraint._compiled.cache_clear()
    first = grammar_of({"type": "null", "description": description})
    assert first == grammar_of({"type": "null", "description": description}) != ""
    assert constraint._compiled.cache_info().hits == remembered
    assert constraint._compiled.cache_info().currsize == remembered
