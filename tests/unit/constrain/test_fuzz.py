"""Any JSON as a schema: a sound grammar or a 400, nothing else. With `FUZZ` in the environment others each time."""

import os
import random
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.constrain.gbnf_sampler import Grammar
from tests.unit.constrain.test_soundness import check

from tollway.constrain import schema_grammar, tool_calls_grammar
from tollway.constrain.document import ANNOTATIONS, SUPPORTED
from tollway.constrain.formats import FORMATS
from tollway.errors import TollwayError

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize="FUZZ" not in os.environ)

NAMES = st.sampled_from(["a", "b", "c", "kind", "x y", 'q"', "é"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-20, 20)
    | st.sampled_from([0.5, -1.25, 1.0])
    | st.sampled_from(["", "a", "bb", "é\n"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4
)
PATTERNS = st.sampled_from(
    [
        "a",
        "^a",
        "a$",
        "^[a-z]{2,4}$",
        "^(ab|c)*$",
        "^\\d+(\\.\\d+)?$",
        "\\W",
        "^[^a]*$",
        "^(a?|b{0,3})+x?$",
        "^.{3}",
        "^\\s\\S$",
        '[\\\\"]',
    ]
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "object", "array"])
COUNTS = st.integers(0, 4)
NUMBERS = st.integers(-150, 150) | st.sampled_from([0.1, -0.5, 99.95, 1e-3, 1e9, -1e6, 12.345])


def grammar_or_400(schema: Any) -> str:
    """The grammar, or "" for a schema that is refused as it should be."""
    try:
        return schema_grammar(schema, param="schema")
    except TollwayError as error:
        status, message = error.status, error.message
    assert status == 400
    assert message
    return ""


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    members = st.dictionaries(NAMES, inner, max_size=3)
    every = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=4),
        "const": VALUES,
        "properties": members,
        "required": st.lists(NAMES, max_size=2, unique=True),
        "additionalProperties": st.booleans() | inner,
        "propertyNames": inner,
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=1),
        "minProperties": st.integers(0, 2),
        "maxProperties": COUNTS,
        "items": inner,
        "prefixItems": several,
        "minItems": st.integers(0, 2),
        "maxItems": COUNTS,
        "uniqueItems": st.booleans(),
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 150),
        "pattern": PATTERNS,
        "format": st.sampled_from(sorted(FORMATS)),
        "minimum": NUMBERS,
        "maximum": NUMBERS,
        "exclusiveMinimum": NUMBERS,
        "exclusiveMaximum": NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 3, 7, 10, 25, 0.5, 0.25, 1.5]),
        "anyOf": several,
        "oneOf": several,
        "allOf": several,
        "unevaluatedProperties": st.just(value=False) | inner,
        "unevaluatedItems": st.just(value=False),
        "$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b"]),
        "title": st.just("A title"),
    }
    chosen = st.lists(st.sampled_from(sorted(every)), min_size=1, max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: every[name] for name in names}))


SCHEMAS = st.recursive(st.booleans() | st.fixed_dictionaries({"type": TYPES}), keywords, max_leaves=6)
DOCUMENTS = st.builds(lambda root, a, b: {**root, "$defs": {"a": a, "b": b}}, keywords(SCHEMAS), SCHEMAS, SCHEMAS)


@settings(RELAXED, max_examples=600)
@given(DOCUMENTS, st.integers(0, 2**32))
def test_what_compiles_is_sound(schema: Any, seed: int) -> None:
    text = grammar_or_400(schema)
    if text:
        check(schema, Grammar(text), 5, seed)


@settings(RELAXED, max_examples=300)
@given(st.lists(NUMBERS, min_size=1, max_size=2), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_numbers_between_bounds(bounds: list[float], integer: bool, is_open: bool, seed: int) -> None:
    low, high = ("exclusiveMinimum", "exclusiveMaximum") if is_open else ("minimum", "maximum")
    schema = {"type": "integer" if integer else "number", low: min(bounds)}
    if len(bounds) == 2:
        schema[high] = max(bounds)
    text = grammar_or_400(schema)
    if not text:
        assert max(bounds) - min(bounds) <= 1
        return
    grammar = Grammar(text)
    check(schema, grammar, 10, seed)
    for value in range(-200, 200):
        fits = (value > min(bounds) if is_open else value >= min(bounds)) and (
            len(bounds) == 1 or (value < max(bounds) if is_open else value <= max(bounds))
        )
        assert grammar.accepts(str(value)) == fits


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["#", "string", "^a$", "("]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(sorted(SUPPORTED | ANNOTATIONS | {"not", "if", "x-a"})) | st.text(max_size=4), inner, max_size=5
        )
    ),
    max_leaves=25,
)


@settings(RELAXED, max_examples=600)
@given(JUNK)
def test_any_json_is_a_grammar_or_a_400(schema: Any) -> None:
    text = grammar_or_400(schema)
    if text:
        Grammar(text)


@settings(RELAXED, max_examples=300)
@given(st.text(alphabet='ab01()[]{}|*+?^$.\\dwsDWS-,<>!=:/é"\n', max_size=14), st.integers(0, 2**32))
def test_any_pattern_is_sound_or_a_400(pattern: str, seed: int) -> None:
    schema = {"type": "string", "pattern": pattern}
    text = grammar_or_400(schema)
    if text:
        check(schema, Grammar(text), 8, seed)


@settings(RELAXED, max_examples=50)
@given(
    st.text(alphabet=string.printable + "é\u2028", max_size=12), st.text(max_size=6), st.integers(1, 8), st.integers(0, 2**32)
)
def test_the_text_around_calls_is_literal(opening: str, closing: str, calls_max: int, seed: int) -> None:
    tools: list[tuple[str, dict[str, Any] | None]] = [("f", {"type": "object", "properties": {"a": {"const": 1}}}), ("g", None)]
    grammar = Grammar(tool_calls_grammar(tools, opening=opening, separator="\n", closing=closing, calls_max=calls_max))
    call = f'{opening}{{"name": "f", "arguments": {{"a": 1}}}}{closing}'
    other = f'{opening}{{"name": "g", "arguments": {{}}}}{closing}'
    for count in range(1, 10):
        assert grammar.accepts("\n".join([call, *[other] * (count - 1)])) == (count <= calls_max)
    assert not grammar.accepts("")
    assert grammar.sample(random.Random(seed)).startswith(opening)


def test_cycles_in_memory_are_no_json() -> None:
    schema: dict[str, Any] = {}
    schema["items"] = schema
    with pytest.raises(TollwayError):
        schema_grammar(schema, param="schema")
