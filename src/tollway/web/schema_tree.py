"""The wire types as a tree that people can read: name, type, bounds, default, whether it is required, what it means.

It is made of the OpenAPI document, and that of the wire types: the pages say what the decoder checks.
"""

import functools
from typing import Any

from msgspec import Struct

from tollway.api import openapi
from tollway.api.endpoints import ENDPOINTS

Schema = dict[str, Any]
_PREFIX = "#/components/schemas/"
_BOUNDS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "minLength": "at least {} {}",
    "maxLength": "at most {} {}",
    "minItems": "at least {} {}",
    "maxItems": "at most {} {}",
}


class Node(Struct):
    """A field, or one of the forms that a field may take."""

    name: str
    type: str
    description: str = ""
    required: bool = False
    nullable: bool = False
    bounds: tuple[str, ...] = ()
    """In words."""
    minimum: float | None = None
    maximum: float | None = None
    default: str | None = None
    values: tuple[str, ...] = ()
    fields: tuple["Node", ...] = ()
    forms: tuple["Node", ...] = ()
    """Alternatives, of which one is given."""


@functools.cache
def document() -> Schema:
    return openapi.document(ENDPOINTS)


@functools.cache
def tree(type_name: str) -> Node:
    """The tree of a wire type by its class name. Raises KeyError for one that is not in the document."""
    return _node(type_name, {"$ref": _PREFIX + type_name})


def node_of(schema: Schema) -> Node:
    """The tree of any schema of the document."""
    return _node("", schema)


def _node(name: str, given: Schema, *, required: bool = True) -> Node:
    schema = _resolved(given)
    # what stands beside a reference says more than what stands behind it
    description = given.get("description") or schema.get("description", "")
    alternatives = schema.get("anyOf")
    if alternatives and "properties" not in schema:
        forms = [form for form in alternatives if form.get("type") != "null"]
        nullable = len(forms) < len(alternatives)
        if len(forms) == 1:  # `X or null` is X, nullable
            only = _resolved(forms[0]) | {key: value for key, value in schema.items() if key != "anyOf"}
            node = _node(name, only, required=required)
            node.nullable = nullable
            node.description = description or node.description
            return node
        return Node(
            name,
            "one of",
            description,
            required,
            nullable,
            default=_default(given, schema),
            forms=tuple(_node(_form_name(form), form) for form in forms),
        )
    inner = _node("", schema["items"]) if "items" in schema else None
    return Node(
        name=name,
        type=_type(schema, inner),
        description=description,
        required=required,
        nullable=None in schema.get("enum", ()),
        bounds=tuple(_bounds(schema)),
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        default=_default(given, schema),
        values=tuple(_shown(value) for value in schema.get("enum", ()) if value is not None),
        fields=inner.fields if inner else _fields(schema),
        forms=inner.forms if inner else (),
    )


def _fields(schema: Schema) -> tuple[Node, ...]:
    required = set(schema.get("required", ()))
    nodes = [_node(name, field, required=name in required) for name, field in schema.get("properties", {}).items()]
    return tuple(sorted(nodes, key=lambda node: not node.required))


def _form_name(form: Schema) -> str:
    """What tells a form from the others: the value of its tag."""
    properties = _resolved(form).get("properties", {})
    for tag in ("role", "type"):
        values = properties.get(tag, {}).get("enum", ())
        if len(values) == 1:
            return f"{tag}: {values[0]}"
    return ""


def _type(schema: Schema, inner: Node | None) -> str:
    kind: str | None = schema.get("type")
    if kind == "array":
        return f"array of {inner.type if inner and inner.type != 'one of' else 'items'}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(_resolved(schema['additionalProperties']), None)}"
    return kind or ("string" if "enum" in schema else "any")


def _bounds(schema: Schema) -> list[str]:
    noun = "items" if "minItems" in schema or "maxItems" in schema else "characters"
    return [
        form.format(f"{schema[key]:,.16g}", noun if schema[key] != 1 else noun[:-1])
        for key, form in _BOUNDS.items()
        if key in schema
    ]


def _default(given: Schema, schema: Schema) -> str | None:
    for place in (given, schema):
        if place.get("default") is not None:
            return _shown(place["default"])
    return None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _resolved(schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    target: Schema = document()["components"]["schemas"][schema["$ref"].removeprefix(_PREFIX)]
    return target | {key: value for key, value in schema.items() if key not in {"$ref", "description"}}
