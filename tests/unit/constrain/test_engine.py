"""The engine reads the grammars, and what it generates under them validates: high temperature, a real model."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.constrain.cases import EXPRESSION, PYDANTIC, STRICT, TREE, ZOD, obj
from tests.unit.constrain.test_soundness import Judges

from tollway.constrain import json_object_grammar, schema_grammar, tool_calls_grammar

TOKENS = 120
ENGINE = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.port, p.api_keys, p.n_parallel, p.n_ctx = sys.argv[1], 0, ["k"], 1, 2048
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 2
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
SCHEMAS: list[Any] = [
    PYDANTIC,
    ZOD,
    STRICT,
    TREE,
    EXPRESSION,
    {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 5},
    obj("n", n={"type": "number", "minimum": -90, "maximum": 90}, s={"type": "string", "maxLength": 300}),
    {"type": "integer", "minimum": 37, "maximum": 1234},
    {"type": "integer", "multipleOf": 7},
    {"type": "string", "minLength": 3, "maxLength": 20},
    {"type": "string", "pattern": "^[A-Z][a-z]{2,30}( [A-Z][a-z]+)?$", "maxLength": 40},
    {"type": "string", "pattern": "[^\\x00-\\x7F]", "maxLength": 12},
    {"type": "string", "pattern": '^["\\\\/\\[\\]^-]{2,9}$'},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "email"},
    {"type": "string", "format": "ipv6"},
    {"enum": [f'choice {i} \u20ac"\n' for i in range(300)]},
    {"type": "array", "items": {"enum": list("abcdef")}, "uniqueItems": True, "minItems": 2},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 150, "maxItems": 400},
    {"properties": {f"property {i}": {"type": "null"} for i in range(100)}, "minProperties": 2, "maxProperties": 3},
    {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": {"type": "integer"}, "maxItems": 4},
]


@pytest.fixture(scope="module")
def engine(models_path: Path) -> Iterator[str]:
    model = models_path / "smollm2-135m-instruct" / "model.gguf"
    child = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def generate(engine: str, grammar: str, seed: int, tokens: int = TOKENS) -> tuple[str, bool]:
    """The generated text, and whether it is complete."""
    body = {"prompt": "Here is some JSON:\n", "grammar": grammar, "n_predict": tokens, "temperature": 1.0, "seed": seed}
    request = urllib.request.Request(
        f"{engine}/completion",
        json.dumps(body).encode(),
        {"Authorization": "Bearer k", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=200) as response:
        answer = json.load(response)
    return answer["content"], answer["stop_type"] == "eos"


@pytest.fixture(scope="module")
def completed() -> list[int]:
    """Which answers ended by themselves."""
    return []


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_generated_documents_validate(engine: str, completed: list[int], number: int) -> None:
    schema = SCHEMAS[number]
    text, complete = generate(engine, schema_grammar(schema, param="schema"), seed=number + 1)
    assert text
    if complete:
        completed.append(number)
        assert Judges(schema).accept(json.loads(text)), text


def test_most_answers_ended(completed: list[int]) -> None:
    """An answer that was cut off proves nothing; there must be others."""
    if not completed:
        pytest.skip("run with the test above")
    assert len(completed) >= len(SCHEMAS) // 2


def test_json_objects_and_calls(engine: str) -> None:
    text, complete = generate(engine, json_object_grammar(), seed=1)
    assert text.startswith("{")
    if complete:
        assert isinstance(json.loads(text), dict)
    parameters = obj("city", city={"type": "string", "maxLength": 20}, days={"type": "integer", "minimum": 1, "maximum": 14})
    grammar = tool_calls_grammar(
        [("weather", parameters), ("now", None)],
        opening="<tool_call>\n",
        separator="\n",
        closing="\n</tool_call>",
        calls_max=2,
    )
    text, complete = generate(engine, grammar, seed=2)
    assert complete
    for call in text.removesuffix("</tool_call>").split("</tool_call>"):
        value = json.loads(call.replace("<tool_call>", ""))
        assert list(value) == ["name", "arguments"]
        assert value["name"] in {"weather", "now"}
        if value["name"] == "weather":
            assert Judges(parameters).accept(value["arguments"])


def test_the_engine_refuses_what_is_no_grammar(engine: str) -> None:
    """Were it to generate freely instead, a mistake in a grammar would go unseen here."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        generate(engine, 'root ::= "a" ((', seed=1, tokens=5)
    assert caught.value.code == 400
    caught.value.close()
