"""A caller's JSON Schema in the keywords that Gemini takes.

Gemini's two JSON Schema fields know a part of the vocabulary. What says the same in other words is rewritten; what is a mere
note is dropped; what is left over would not be enforced and is reported, so that a strict schema can be refused.
"""

from typing import Any, NamedTuple

from tollway.errors import InvalidRequest, UnsupportedParameter

DEPTH_MAX = 64
NODES_MAX = 20_000
PATH_CHARS_MAX = 4_000  # each part of the schema has its own

_NOTES = frozenset({"$id", "$anchor", "title", "description", "propertyOrdering"})
_PLAIN = frozenset({"type", "format", "required", "minItems", "maxItems", "minimum", "maximum", "enum"})
_MAPS = frozenset({"properties", "$defs"})
_LISTS = frozenset({"anyOf", "prefixItems"})
# These bind values and have no twin. With the value given here they bind nothing.
_WITHOUT_TWIN: dict[str, Any] = {
    "pattern": None, "minLength": 0, "maxLength": None, "multipleOf": None, "uniqueItems": False, "allOf": [], "not": None,
    "if": None, "then": None, "else": None, "contains": None, "minContains": None, "maxContains": None,
    "minProperties": 0, "maxProperties": None, "patternProperties": {}, "propertyNames": True,
    "dependentRequired": {}, "dependentSchemas": {}, "dependencies": {},
    "unevaluatedProperties": True, "unevaluatedItems": True, "additionalItems": True, "$dynamicRef": None,
    "const": None, "oneOf": None, "exclusiveMinimum": None, "exclusiveMaximum": None,
}  # fmt: skip
_BINDING = (_PLAIN | _MAPS | _LISTS | _WITHOUT_TWIN.keys() | {"items", "additionalProperties"}) - {"$defs"}
_EMPTY_OBJECT = frozenset({"type", "properties", "required", "title", "description", "$schema"})


class Translated(NamedTuple):
    """The schema for Gemini, and the paths of the caller's keywords that it will not enforce."""

    schema: dict[str, Any]
    unenforced: list[str]


def translate(schema: dict[str, Any], param: str) -> Translated:
    """Raises InvalidRequest for what is no schema, UnsupportedParameter for one beyond all bounds."""
    translation = _Translation(param)
    return Translated(translation.node(schema, param, 0), translation.unenforced)


def is_empty_object(schema: dict[str, Any]) -> bool:
    """Whether it allows an object and says nothing of what is in it, or that there is nothing."""
    said = set(schema) - ({"additionalProperties"} if schema.get("additionalProperties") is False else set())
    return not schema or (schema.get("type") == "object" and not schema.get("properties") and said <= _EMPTY_OBJECT)


class _Translation:
    def __init__(self, param: str) -> None:
        self.unenforced: list[str] = []
        self._param = param
        self._nodes = 0

    def node(self, schema: Any, path: str, depth: int) -> dict[str, Any]:
        self._nodes += 1
        if depth > DEPTH_MAX or self._nodes > NODES_MAX or len(path) > PATH_CHARS_MAX:
            raise UnsupportedParameter(f"`{self._param}`: the schema is too large or too deeply nested.", param=self._param)
        if schema is True:
            return {}
        if schema is False:
            self._lose(path)
            return {}
        if not isinstance(schema, dict):
            raise InvalidRequest(f"`{path}` must be a JSON Schema: an object or a boolean.", param=path)
        if "$ref" in schema:
            return self._reference(schema, path, depth)
        translated: dict[str, Any] = {}
        for key, value in self._plainer(schema, path).items():
            place = f"{path}.{key}"
            if key in _NOTES or key in _PLAIN:
                translated[key] = value
            elif key in _MAPS:
                translated[key] = self._map(value, place, depth)
            elif key in _LISTS:
                translated[key] = self._list(value, place, depth)
            elif key == "items" or (key == "additionalProperties" and not isinstance(value, bool)):
                translated[key] = self.node(value, place, depth + 1)
            elif key == "additionalProperties":
                translated[key] = value
            elif key in _WITHOUT_TWIN and value != _WITHOUT_TWIN[key]:
                self._lose(place)
        return translated

    def _reference(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        """Beside `$ref` Gemini takes only keys with a dollar."""
        target = schema["$ref"]
        if not isinstance(target, str):
            raise InvalidRequest(f"`{path}.$ref` must be a string.", param=f"{path}.$ref")
        translated: dict[str, Any] = {"$ref": target.replace("#/definitions/", "#/$defs/", 1)}
        if (definitions := schema.get("$defs", schema.get("definitions"))) is not None:
            translated["$defs"] = self._map(definitions, f"{path}.$defs", depth)
        for key in schema:
            if key in _BINDING:
                self._lose(f"{path}.{key}")
        return translated

    def _plainer(self, schema: dict[str, Any], path: str) -> dict[str, Any]:
        """The same schema with Gemini's own keywords for what they can say."""
        plain = dict(schema)
        parts = plain.get("allOf")
        if isinstance(parts, list) and len(parts) == 1 and not (_BINDING & plain.keys()) - {"allOf"}:
            only = parts[0]
            if isinstance(only, dict) and "$ref" not in only:
                del plain["allOf"]
                plain.update(only)
            elif isinstance(only, dict):
                del plain["allOf"]
                plain["anyOf"] = [only]
        if "definitions" in plain:
            plain.setdefault("$defs", plain.pop("definitions"))
        if "oneOf" in plain and "anyOf" not in plain:
            self._lose(f"{path}.oneOf")  # taken as anyOf, which also allows what fits several
            plain["anyOf"] = plain.pop("oneOf")
        if isinstance(plain.get("items"), list):
            plain["prefixItems"] = plain.pop("items")
        self._values(plain, path)
        for key, bound, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
            if isinstance(limit := plain.get(key), int | float) and not isinstance(limit, bool):
                self._exclusive(plain, key, bound, step, path)
        return plain

    def _values(self, plain: dict[str, Any], path: str) -> None:
        """`enum` takes strings and numbers; `const` is an enum of one."""
        keyword = "const" if "const" in plain else "enum"
        if keyword not in plain:
            return
        values = [plain.pop("const")] if keyword == "const" else plain["enum"]
        if not isinstance(values, list):
            raise InvalidRequest(f"`{path}.{keyword}` must be an array.", param=f"{path}.{keyword}")
        if all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values):
            plain["enum"] = values
            return
        plain.pop("enum", None)
        if values == [None]:
            plain["type"] = "null"
        else:
            self._lose(f"{path}.{keyword}")

    def _exclusive(self, plain: dict[str, Any], key: str, bound: str, step: int, path: str) -> None:
        """For integers the next one is the bound; other numbers get the bound itself, which says a little less."""
        limit = plain.pop(key)
        if plain.get("type") == "integer" and limit == int(limit):
            limit = int(limit) + step
        else:
            self._lose(f"{path}.{key}")
        other = plain.get(bound, limit)
        if isinstance(other, int | float):
            plain[bound] = max(limit, other) if step > 0 else min(limit, other)

    def _map(self, value: Any, path: str, depth: int) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InvalidRequest(f"`{path}` must be an object.", param=path)
        return {name: self.node(part, f"{path}.{name}", depth + 1) for name, part in value.items()}

    def _list(self, value: Any, path: str, depth: int) -> list[Any]:
        if not isinstance(value, list):
            raise InvalidRequest(f"`{path}` must be an array.", param=path)
        return [self.node(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(value)]

    def _lose(self, path: str) -> None:
        self.unenforced.append(path)
