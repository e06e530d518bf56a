"""What cannot be guaranteed is refused, with the keyword and its place."""

from typing import Any

import pytest

from tollway.constrain import schema_grammar, tool_calls_grammar
from tollway.errors import InvalidRequest, TollwayError, UnsupportedParameter

PARAM = "response_format.json_schema.schema"


def refusal(schema: Any) -> TollwayError:
    with pytest.raises(TollwayError) as caught:
        schema_grammar(schema, param=PARAM)
    assert caught.value.status == 400
    assert caught.value.param == PARAM
    return caught.value


INT = {"type": "integer"}
ONE_OR_TWO: dict[str, Any] = {"type": "array", "minItems": 1, "maxItems": 2}
STRINGS = {"type": "array", "items": {"type": "string"}}
UNSUPPORTED: list[tuple[Any, str, str]] = [
    ({"not": {"type": "string"}}, "not", "at the top level"),
    ({"properties": {"a": {"not": {}}}}, "not", "at /properties/a"),
    ({"properties": {"a/b": {"items": {"not": {}}}}}, "not", "at /properties/a~1b/items"),
    ({"if": {}, "then": {}}, "if", "at the top level"),
    ({"dependentRequired": {"a": ["b"]}}, "dependentRequired", "at the top level"),
    ({"dependentSchemas": {}}, "dependentSchemas", "at the top level"),
    ({"dependencies": {}}, "dependencies", "at the top level"),
    ({"contains": {}}, "contains", "at the top level"),
    ({"items": {"$dynamicRef": "#x"}}, "$dynamicRef", "at /items"),
    ({"type": "string", "format": "klingon"}, "format", "at the top level"),
    ({"anyOf": [{"type": "null"}, {"type": "string", "format": "klingon"}]}, "format", "at /anyOf/1"),
    ({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"not": {}}}}, "not", "at /$defs/x"),
    ({"type": "string", "contentMediaType": "application/json"}, "contentMediaType", "at the top level"),
    ({"type": "string", "contentEncoding": "quoted-printable"}, "contentEncoding", "at the top level"),
    ({"type": "string", "pattern": "^(?=a)b"}, "pattern", "looks ahead"),
    ({"type": "string", "pattern": "(?<!a)b"}, "pattern", "looks ahead"),
    ({"type": "string", "pattern": "(a)\\1"}, "pattern", "back reference"),
    ({"type": "string", "pattern": "\\bword\\b"}, "pattern", "word boundary"),
    ({"type": "string", "pattern": "a^b"}, "pattern", "anchor in the middle"),
    ({"type": "string", "pattern": "(^a|b)c"}, "pattern", "anchor in the middle"),
    ({"type": "string", "pattern": "^abc$", "minLength": 4}, "pattern", "together with these `minLength`"),
    ({"type": "string", "pattern": "^a", "format": "date"}, "pattern", "together with another"),
    ({"allOf": [{"type": "string", "pattern": "a"}, {"pattern": "b"}]}, "pattern", "together with another"),
    ({**STRINGS, "uniqueItems": True}, "uniqueItems", "at the top level"),
    ({"type": "array", "items": {"enum": [[1], [2]]}, "uniqueItems": True}, "uniqueItems", "at the top level"),
    ({"type": "integer", "multipleOf": 101}, "multipleOf", "at the top level"),
    ({"type": "number", "multipleOf": 0.3}, "multipleOf", "at the top level"),
    ({"type": "integer", "minimum": 10**16}, "minimum", "15 digits"),
    ({"type": "object", "additionalProperties": {}, "minProperties": 2}, "minProperties", "at the top level"),
    ({"type": "object", "patternProperties": {"a": {}, "b": {}}}, "patternProperties", "at the top level"),
    ({"oneOf": [{"type": "string"}, {"minLength": 3, "type": "string"}]}, "oneOf", "branches 0 and 1"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf", "branches 0 and 1"),
    ({"oneOf": [{"type": "string"}, {"properties": {"a": {}}}]}, "oneOf", "branches 0 and 1"),
    (
        {
            "oneOf": [
                ONE_OR_TWO | {"items": INT},
                ONE_OR_TWO | {"unevaluatedItems": False, "anyOf": [{"prefixItems": [INT] * n} for n in (1, 2)]},
            ]
        },
        "oneOf",
        "branch",
    ),
    ({"frobnicate": 1}, "frobnicate", "at the top level"),
    ({"$schema": "http://json-schema.org/draft-03/schema#"}, "$schema", "at the top level"),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": []}, "prefixItems", "2020-12"),
    ({"additionalItems": {}}, "additionalItems", "at the top level"),
    ({"properties": {"a": {"$id": "x"}}}, "$id", "at /properties/a"),
]


@pytest.mark.parametrize(("schema", "keyword", "where"), UNSUPPORTED)
def test_unsupported_names_keyword_and_place(schema: Any, keyword: str, where: str) -> None:
    error = refusal(schema)
    assert isinstance(error, UnsupportedParameter)
    assert error.code == "unsupported_parameter"
    assert error.message.startswith(f"The keyword `{keyword}` at ")
    assert where in error.message
    assert error.message.endswith("Remove it or choose another model.")


INVALID: list[tuple[Any, str]] = [
    ({"type": "strnig"}, "at /type"),
    ({"type": 5}, "at /type"),
    ({"properties": {"a": {"minLength": -1}}}, "at /properties/a/minLength"),
    ({"properties": []}, "at /properties"),
    ({"properties": {"a": 5}}, "at /properties/a"),
    ({"required": "a"}, "at /required"),
    ({"properties": {"a": {"required": True}}}, "at /properties/a/required"),
    ({"items": [{}]}, "at /items"),
    ({"anyOf": []}, "at /anyOf"),
    ({"multipleOf": 0}, "at /multipleOf"),
    ({"exclusiveMinimum": True}, "at /exclusiveMinimum"),
    ({"enum": []}, "`enum` is empty"),
    ({"$ref": "#/$defs/gone"}, "points to nothing"),
    ({"$ref": "#/$defs"}, "points to nothing"),
    ({"$ref": "#/title", "title": "x"}, "at /title: a schema must be an object or a boolean"),
    ({"$ref": "#/x-lib/a", "x-lib": {"a": {"type": 5}}}, "at /x-lib/a/type"),
    ({"$ref": "other.json"}, "leads out of the schema"),
    ({"$ref": "https://example.com/schema"}, "leads out of the schema"),
    ({"$ref": "#"}, "refers to itself"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}}, "refers to itself"),
    ({"allOf": [{"$ref": "#"}]}, "refers to itself"),
    ({"minimum": 2, "maximum": 1}, "`minimum` is above `maximum`"),
    ({"type": "string", "minLength": 2, "maxLength": 1}, "`minLength` is above `maxLength`"),
    ({"type": "string", "pattern": "("}, "is no regular expression"),
    ({"type": "string", "pattern": "(((("}, "is no regular expression"),
    ({"type": "string", "pattern": "[z-a]"}, "is no regular expression"),
    ({"type": "string", "pattern": "*"}, "is no regular expression"),
    ({"patternProperties": {"[": {}}}, "is no regular expression"),
    (False, "no JSON value satisfies it"),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "no JSON value satisfies it"),
    ({"type": "string", "enum": [1]}, "no JSON value satisfies it"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "no JSON value satisfies it"),
    ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no JSON value satisfies it"),
    ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "no JSON value satisfies it"),
    (
        {"type": "object", "minProperties": 3, "properties": {"a": {}}, "additionalProperties": False},
        "no JSON value satisfies it",
    ),
    ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "no JSON value satisfies it"),
    ({"const": float("nan")}, "not finite"),
    ({"const": 10**400}, "beyond the range of a double"),
    ({"const": "\ud800"}, "half a surrogate pair"),
    ({"properties": {"\udfff": {}}}, "half a surrogate pair"),
]


@pytest.mark.parametrize(("schema", "what"), INVALID)
def test_invalid_says_what_and_where(schema: Any, what: str) -> None:
    error = refusal(schema)
    assert type(error) is InvalidRequest
    assert error.code == "invalid_json_schema"
    assert what in error.message


def test_a_dead_end_is_not_offered() -> None:
    never = {"type": "object", "properties": {"again": {"$ref": "#/$defs/never"}}, "required": ["again"]}
    grammar = schema_grammar({"anyOf": [{"$ref": "#/$defs/never"}, {"const": 1}], "$defs": {"never": never}}, param=PARAM)
    assert "again" not in grammar


def test_a_tool_is_named_by_its_own_parameter() -> None:
    tools: list[tuple[str, dict[str, Any] | None]] = [("a", None), ("b", {"properties": {"x": {"not": {}}}})]
    with pytest.raises(UnsupportedParameter, match="at /properties/x") as caught:
        tool_calls_grammar(tools, opening="", separator="", closing="", calls_max=1)
    assert caught.value.param == "tools[1].function.parameters"
    with pytest.raises(InvalidRequest) as invalid:
        tool_calls_grammar([("b", {"type": "string"})], opening="", separator="", closing="", calls_max=1)
    assert invalid.value.param == "tools[0].function.parameters"
