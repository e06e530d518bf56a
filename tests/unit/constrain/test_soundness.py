"""Every text of a grammar is JSON and validates, by two validators; natural documents are texts of it."""

import json
import random
import re
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from tests.unit.constrain.cases import CASES, D7
from tests.unit.constrain.gbnf_sampler import Grammar

from tollway.constrain import schema_grammar

SAMPLES = 25
STACKS_MAX = 150


def compile_(schema: Any) -> str:
    return schema_grammar(schema, param="schema")


class Judges:
    """Both validators of one schema."""

    def __init__(self, schema: Any) -> None:
        old = isinstance(schema, dict) and schema.get("$schema") == D7
        self.fast = (jsonschema_rs.Draft7Validator if old else jsonschema_rs.Draft202012Validator)(
            schema, validate_formats=True
        )
        kind = jsonschema.Draft7Validator if old else jsonschema.Draft202012Validator
        # Python's regular expressions have no Unicode properties, no code points in braces, and other names for groups.
        known = not re.search(r"\\\\[pu]\{|\(\?<", json.dumps(schema))
        self.slow = kind(schema, format_checker=kind.FORMAT_CHECKER) if known else None

    def accept(self, value: Any) -> bool:
        return bool(self.fast.is_valid(value)) and (self.slow is None or bool(self.slow.is_valid(value)))


def check(schema: Any, grammar: Grammar, samples: int, seed: int) -> None:
    rng = random.Random(seed)
    judges = Judges(schema)
    for _ in range(samples):
        text = grammar.sample(rng)
        text.encode()
        value = json.loads(text)
        assert judges.accept(value), f"{text!r} does not validate"


@pytest.mark.parametrize("number", range(len(CASES)))
def test_every_sample_validates(number: int) -> None:
    schema, _ = CASES[number]
    check(schema, Grammar(compile_(schema)), SAMPLES, number)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_natural_documents_are_accepted(number: int) -> None:
    schema, documents = CASES[number]
    grammar = Grammar(compile_(schema))
    judges = Judges(schema)
    for document in documents:
        assert judges.accept(document)
        text = json.dumps(document, ensure_ascii=False).replace("e+", "e")
        assert grammar.accepts(text), f"{text} is refused"
    assert grammar.stacks_max <= STACKS_MAX


def test_white_space_is_fixed() -> None:
    grammar = Grammar(compile_({"type": "array", "items": {"type": "object", "additionalProperties": {"type": "integer"}}}))
    assert grammar.accepts('[{"a": 1, "b": 2}, {}]')
    for text in ('[{"a":1}]', '[ {"a": 1}]', '[{"a": 1} ]', '[{"a": 1}]\n', '[{"a":  1}]'):
        assert not grammar.accepts(text)


def test_the_order_of_properties_is_the_order_of_generation() -> None:
    one = compile_({"properties": {"a": {}, "b": {}}})
    other = compile_({"properties": {"b": {}, "a": {}}})
    assert one != other


def test_names_are_what_the_engine_reads() -> None:
    for schema, _ in CASES:
        for line in compile_(schema).splitlines():
            assert re.match(r"^[a-zA-Z0-9-]+ ::= ", line)
            assert "(" not in re.sub(r'"(\\.|[^"\\])*"|\[(\\.|[^\]\\])*\]', "", line)
