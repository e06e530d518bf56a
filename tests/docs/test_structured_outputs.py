"""The table of JSON Schema keywords is true, and complete: every keyword of every draft is in it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tollway.constrain import schema_grammar
from tollway.constrain.document import ANNOTATIONS, SUPPORTED
from tollway.constrain.formats import FORMATS, UNCHECKED
from tollway.errors import UnsupportedParameter

PAGE = (Path(__file__).parents[2] / "docs" / "structured-outputs.md").read_text(encoding="utf-8")
ROWS = {
    keyword: row[1].strip()
    for row in (line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `"))
    for keyword in re.findall(r"`([^`]+)`", row[0])
}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
A_MAP = {"type": "object", "additionalProperties": True}
TEXTS = {"type": "array", "items": {"enum": ["a", "b"]}}

# Of each keyword that is enforced, one schema; of the partly enforced, also one that is refused.
ENFORCED: dict[str, Any] = {
    "type": ["string", "null"],
    "enum": [1, "a", {"b": []}],
    "const": {"a": 1},
    "properties": {"a": True},
    "required": ["a"],
    "additionalProperties": {"type": "integer"},
    "propertyNames": {"maxLength": 3},
    "patternProperties": {"^a": True},
    "minProperties": 1,
    "maxProperties": 1,
    "unevaluatedProperties": False,
    "unevaluatedItems": False,
    "items": {"type": "null"},
    "prefixItems": [{"type": "null"}],
    "additionalItems": {"$schema": DRAFT_7, "type": "array", "items": [True], "additionalItems": False},
    "minItems": 1,
    "maxItems": 1,
    "uniqueItems": {**TEXTS, "uniqueItems": True},
    "minLength": 1,
    "maxLength": 1,
    "pattern": {"type": "string", "pattern": "^[a-z]+(-b|c)?$"},
    "format": {"type": "string", "format": "date"},
    "contentEncoding": {"type": "string", "contentEncoding": "base64"},
    "minimum": 0.5,
    "maximum": 0.5,
    "exclusiveMinimum": 1,
    "exclusiveMaximum": 1,
    "multipleOf": 0.01,
    "allOf": [{"type": "string"}, {"maxLength": 3}],
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "oneOf": [{"type": "string"}, {"type": "null"}],
    "$ref": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
    "$defs": {"a": {}},
    "definitions": {"$ref": "#/definitions/a", "definitions": {"a": {"type": "string"}}},
    "$anchor": {"$anchor": "top", "$ref": "#x", "$defs": {"a": {"$anchor": "x", "type": "string"}}},
    "$id": "https://example.com/schema",
}
REFUSED: dict[str, Any] = {
    "patternProperties": {"^a": True, "^b": True},
    "minProperties": {**A_MAP, "minProperties": 2},
    "uniqueItems": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "pattern": {"type": "string", "pattern": "(?=a)b"},
    "contentEncoding": {"type": "string", "contentEncoding": "base32"},
    "multipleOf": {"type": "number", "multipleOf": 0.3},
    "oneOf": [{"type": "integer"}, {"type": "number"}],
    "not": {"type": "string"},
    "dependentRequired": {"a": ["b"]},
    "$dynamicRef": "#x",
    "$recursiveRef": "#",
    "contentMediaType": "text/plain",
    "$dynamicAnchor": "x",
    "$recursiveAnchor": {"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": True},
    "minContains": 1,
    "maxContains": 1,
}
# All keywords of the drafts: core, applicators, unevaluated, validation, format, content, metadata.
OF_THE_DRAFTS = re.findall(
    r"\S+",
    """
$id $schema $ref $anchor $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor $vocabulary $comment $defs definitions
prefixItems items additionalItems contains additionalProperties properties patternProperties dependentSchemas dependencies
propertyNames if then else allOf anyOf oneOf not unevaluatedItems unevaluatedProperties type const enum multipleOf maximum
exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains
maxProperties minProperties required dependentRequired format contentEncoding contentMediaType contentSchema title description
default deprecated readOnly writeOnly examples
""",
)


def schema_of(keyword: str, given: Any) -> Any:
    return given if isinstance(given, dict) and keyword in given else {keyword: given}


def test_every_keyword_of_every_draft_is_in_the_table() -> None:
    assert set(OF_THE_DRAFTS) <= set(ROWS)
    assert set(ROWS.values()) == {"enforced", "partly", "refused", "no effect"}


def test_the_table_knows_what_the_compiler_knows() -> None:
    assert {keyword for keyword, how in ROWS.items() if how in {"enforced", "partly"}} <= SUPPORTED | ANNOTATIONS
    assert {keyword for keyword in ROWS if keyword in SUPPORTED} == SUPPORTED
    assert {keyword for keyword, how in ROWS.items() if how == "no effect"} <= ANNOTATIONS
    assert {keyword for keyword, how in ROWS.items() if how == "refused"}.isdisjoint(SUPPORTED | ANNOTATIONS)


@pytest.mark.parametrize("keyword", [keyword for keyword, how in ROWS.items() if how in {"enforced", "partly"}])
def test_what_is_enforced_compiles(keyword: str) -> None:
    assert "root" in schema_grammar(schema_of(keyword, ENFORCED[keyword]), param="p")


@pytest.mark.parametrize("keyword", [keyword for keyword, how in ROWS.items() if how in {"refused", "partly"}])
def test_what_is_refused_is_named(keyword: str) -> None:
    with pytest.raises(UnsupportedParameter, match=re.escape(f"The keyword `{keyword}` ")):
        schema_grammar(schema_of(keyword, REFUSED.get(keyword, {})), param="p")


def test_the_formats_are_those_that_are_known() -> None:
    known, unchecked = " ".join(PAGE.split()).partition("Formats: ")[2].split(". These ask nothing of a text: ")
    unchecked = unchecked.partition(". ")[0]

    assert set(re.findall(r"`([^`]+)`", known)) == set(FORMATS)
    assert set(re.findall(r"`([^`]+)`", unchecked)) == UNCHECKED
