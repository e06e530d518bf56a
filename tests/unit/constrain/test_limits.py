"""Small schemas that mean much work are refused, in bounded time."""

import time
from typing import Any

import pytest
from tests.unit.constrain.gbnf_sampler import Grammar

from tollway.constrain import json_object_grammar, schema_grammar, tool_calls_grammar
from tollway.constrain.gbnf import TEXT_BYTES_MAX
from tollway.errors import TollwayError, UnsupportedParameter

SECONDS_MAX = 3.0


def nested(depth: int, key: str = "items") -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {key: schema}
    return schema


def doubling(keyword: str, levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {
        f"d{i}": {keyword: [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]} for i in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{levels}": {"type": "null"}}}


def optional(width: int, depth: int) -> dict[str, Any]:
    return {"properties": {f"p{i}": optional(width, depth - 1) if depth else {"type": "null"} for i in range(width)}}


PRODUCT = {"allOf": [{"anyOf": [{"minLength": i}, {"maxLength": 50 + i}, {"const": str(i)}]} for i in range(20)]}
VALUE: Any = 1
for _ in range(40):
    VALUE = [VALUE]
BOMBS: dict[str, Any] = {
    "depth": nested(200),
    "deep beyond the stack": nested(100_000),
    "allOf product": PRODUCT,
    "anyOf doubling": doubling("anyOf", 30),
    "oneOf doubling": doubling("oneOf", 12),
    "reference chain": {
        "$ref": "#/$defs/d0",
        "$defs": {**{f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(5000)}, "d5000": {}},
    },
    "many properties": optional(20, 3),
    "many values": {"enum": [f"{i}" * 20 for i in range(40_000)]},
    "minItems": {"type": "array", "minItems": 1_000_000, "items": {"type": "null"}},
    "minLength": {"type": "string", "minLength": 10**9},
    "pattern repetitions": {"type": "string", "pattern": "^(((a{0,100}){0,100}){0,100}){0,100}$"},
    "pattern ambiguity": {"type": "string", "pattern": "^(a|aa|aaa){0,500}$"},
    "pattern nesting": {"type": "string", "pattern": "(" * 300 + "a" + ")" * 300},
    "pattern nesting that validators read": {"type": "string", "pattern": "(" * 60 + "a" + ")" * 60},
    "pattern length": {"type": "string", "pattern": "a?" * 5000},
    "pattern stars": {"type": "string", "pattern": "^(" + "a*" * 900 + ")*$"},
    "minProperties": {"type": "object", "properties": {f"p{i}": {} for i in range(300)}, "minProperties": 299},
    "long names": {"properties": {"€" * 60_000: {}}},
    "backtracking": {"enum": ["a" * 3000 + str(i) for i in range(600)], "pattern": r"^(a*)*\1b$"},
    "backtracking further down": {
        "enum": [["a" * 3000 + str(i) for i in range(600)] for _ in range(5)],
        "items": {"$ref": "#/properties/pattern"},
        "properties": {"pattern": {"patternProperties": {}, "pattern": r"^(a*)*\1b$"}},
    },
    "much text": {"type": "null", "description": "x" * 1_000_001},
    "a long pattern": {"type": "string", "pattern": "a" * 10_001},
    "values of doubled schemas": {"enum": [1, 2], **doubling("allOf", 25)},
    "deep values of doubled schemas": {"const": VALUE, "allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]},
    "cross references": {
        "$defs": {f"d{i}": {"properties": {f"p{j}": {"$ref": f"#/$defs/d{j}"} for j in range(200)}} for i in range(200)},
        "$ref": "#/$defs/d0",
    },
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_quickly(name: str) -> None:
    started = time.process_time()
    with pytest.raises(TollwayError) as caught:
        schema_grammar(BOMBS[name], param="schema")
    assert caught.value.status == 400
    assert time.process_time() - started < SECONDS_MAX


# Large, but what clients do send, or harmless.
LARGE: dict[str, Any] = {
    "allOf doubling": doubling("allOf", 25),
    "many optional properties": {"properties": {f"property_{i}": {"type": ["string", "null"]} for i in range(300)}},
    "a thousand values": {"enum": [f"value number {i}" for i in range(1000)]},
    "values of an intricate pattern": {
        "enum": [f"somebody{i}@mail.example.org" for i in range(500)],
        "pattern": r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
    },
    "a long list": {"type": "array", "items": {"type": "integer"}, "maxItems": 1_000_000},
    "discriminated": {"oneOf": [{"properties": {"k": {"const": i}, "v": {}}, "required": ["k"]} for i in range(40)]},
}


@pytest.mark.parametrize("name", LARGE)
def test_large_schemas_compile(name: str) -> None:
    started = time.process_time()
    text = schema_grammar(LARGE[name], param="schema")
    assert time.process_time() - started < SECONDS_MAX
    assert len(text) <= TEXT_BYTES_MAX
    Grammar(text)


def test_tools_share_the_limits() -> None:
    """However many rules the tools need, it is a 400 at the most; 5,990 to 6,010 rules are around the limit."""
    for count in range(2990, 3012):
        schema = {"type": "array", "prefixItems": [{"const": i} for i in range(count)]}
        tools: list[tuple[str, dict[str, Any] | None]] = [("f", {"properties": {"a": schema}})]
        try:
            tool_calls_grammar(tools, opening="<", separator="", closing=">", calls_max=8)
        except TollwayError as error:
            status = error.status
            break
    assert status == 400


@pytest.mark.parametrize(
    ("place", "whole"), [("tools[{}].function.parameters", "tools"), ("functions[{}].parameters", "functions")]
)
def test_what_all_tools_together_need_is_named_as_it_was_sent(place: str, whole: str) -> None:
    tools: list[tuple[str, dict[str, Any] | None]] = [
        (f"f{i}", {"type": "object", "properties": {"a": {"const": f"{i} " + "x" * 3_000}}, "required": ["a"]})
        for i in range(100)
    ]
    params = [place.format(i) for i in range(100)]
    with pytest.raises(TollwayError, match="too large") as caught:
        tool_calls_grammar(tools, opening="<", separator="", closing=">", calls_max=1, params=params)
    assert (caught.value.status, caught.value.param) == (400, whole)


def test_the_message_names_the_limit() -> None:
    with pytest.raises(UnsupportedParameter, match="nested deeper than 64 levels"):
        schema_grammar(nested(70), param="schema")
    with pytest.raises(UnsupportedParameter, match="larger than 262144 bytes"):
        schema_grammar({"const": "€" * 100_000}, param="schema")
    with pytest.raises(UnsupportedParameter, match="lead to one of its parts have more than 4000 characters"):
        schema_grammar(BOMBS["long names"], param="schema")


def test_typical_schemas_compile_in_milliseconds() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city."},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"type": "string", "enum": ["c", "f"]},
        },
        "required": ["city"],
    }
    json_object_grammar()
    best = 1.0
    for round_ in range(20):
        started = time.process_time()
        tool_calls_grammar([(f"f{round_}", parameters)], opening="", separator="", closing="", calls_max=1)
        best = min(best, time.process_time() - started)
    assert best < 0.005
