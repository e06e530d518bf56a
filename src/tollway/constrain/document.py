"""The schema document: well-formed, within limits, and its references resolved."""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote as percent_encoded
from urllib.parse import unquote

import jsonschema_rs

from tollway.constrain.problems import TooLarge, invalid, quote, unsupported

DEPTH_MAX = 64
NODES_MAX = 50_000
STEPS_MAX = 30_000
NUMBER_BITS_MAX = 1_024
TEXT_CHARS_MAX = 1_000_000
POINTER_CHARS_MAX = 4_000  # each part of the schema has its own
PATTERN_CHARS_MAX = 10_000
BACKTRACKS_MAX = 1_000  # for one match; a tenth of a millisecond
BACKTRACKING_STEPS = 30  # what checking a value costs in a schema with a pattern whose time is not linear
CHAIN_MAX = 60
CHECK_MAX = 200_000

Schema = dict[str, Any] | bool

DIALECTS = {
    "https://json-schema.org/draft/2020-12/schema": 2020,
    "https://json-schema.org/draft/2019-09/schema": 2019,
    "http://json-schema.org/draft-07/schema": 7,
}
# Keywords that assert nothing. `nullable` and `discriminator` are OpenAPI's and mean nothing in JSON Schema; null is not
# generated for `nullable`, because a validator would refuse it.
ANNOTATIONS = frozenset(
    {
        "$anchor",
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "$vocabulary",
        "default",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "enumDescriptions",
        "enumNames",
        "example",
        "examples",
        "externalDocs",
        "markdownDescription",
        "nullable",
        "propertyOrdering",
        "readOnly",
        "title",
        "writeOnly",
        "xml",
    }
)
SUPPORTED = frozenset(
    {
        "$ref",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "contentEncoding",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "oneOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "required",
        "type",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "maximum"),
    ("minimum", "exclusiveMaximum"),
)
# Where schemas stand in a schema: those for the value itself, and all; some keywords are one schema, the others hold several.
IN_PLACE = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
SCHEMA_IS = frozenset(
    {"items", "additionalItems", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
)
SCHEMAS_IN = SCHEMA_IS | IN_PLACE | {"properties", "patternProperties", "prefixItems"}


class Loc(NamedTuple):
    """A schema and where it stands in its document; the pointer is its identity.

    The pointers of schemas that the compiler adds are words in parentheses.
    """

    pointer: str
    schema: Schema

    def keyword(self, name: str) -> Any:
        return self.schema.get(name) if isinstance(self.schema, dict) else None


def escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


@lru_cache(maxsize=4)
def _meta(dialect: int) -> Any:
    uri = next(uri for uri, known in DIALECTS.items() if known == dialect)
    return _validator_class(dialect)({"$ref": uri})


def _validator_class(dialect: int) -> Any:
    if dialect == 7:
        return jsonschema_rs.Draft7Validator
    return jsonschema_rs.Draft202012Validator if dialect == 2020 else jsonschema_rs.Draft201909Validator


# A match that is given up counts as none, and also as none under `not`: fewer values are taken, never wrong ones.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS_MAX)


@lru_cache(maxsize=32)  # a compiled one may have megabytes
def _pattern(pattern: str) -> Any:
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=_PATTERNS)


@lru_cache(maxsize=256)
def _is_linear(pattern: str) -> bool:
    """Whether it is matched in linear time: without looking around and referring back."""
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions())
    except ValueError:
        return False
    return True


def is_pattern(pattern: str) -> bool:
    """Whether validators read it as a regular expression."""
    try:
        _pattern(pattern)
    except ValueError:
        return False
    return True


def has_pattern(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text."""
    return bool(_pattern(pattern).is_valid(text))


class Document:
    """One schema as a caller sent it; all positions in messages are JSON pointers into it."""

    def __init__(self, schema: Any, *, param: str) -> None:
        self.param = param
        self.steps = 0
        self._check_steps = 0  # what checking a value costs
        self._check_size(schema)
        self.dialect = self._dialect(schema)
        self._check_meta(schema, "")
        self.root = Loc("", schema)
        self._vetted: set[str] = set()
        self._validators: dict[str, Any] = {}
        self._weights: dict[tuple[str, int], int] = {}

    def spend(self, steps: int = 1) -> None:
        """Count work, so that no small schema can cost more than some tens of milliseconds."""
        self.steps += steps
        if self.steps > STEPS_MAX:
            raise TooLarge(f"its references and alternatives take more than {STEPS_MAX} steps to follow")

    def child(self, loc: Loc, *tokens: str | int) -> Loc:
        schema: Any = loc.schema
        for token in tokens:
            schema = schema[token]
        pointer = loc.pointer + "".join(f"/{escape(str(token))}" for token in tokens)
        if len(pointer) > POINTER_CHARS_MAX:
            raise TooLarge(f"the names that lead to one of its parts have more than {POINTER_CHARS_MAX} characters")
        return Loc(pointer, schema)

    def children(self, loc: Loc, keyword: str) -> list[Loc]:
        """The members of a keyword whose value is a list of schemas."""
        return [self.child(loc, keyword, index) for index in range(len(loc.keyword(keyword) or ()))]

    def resolve(self, loc: Loc) -> Loc:
        """What the `$ref` of this schema points to."""
        ref = str(loc.keyword("$ref"))
        base = str(self.root.keyword("$id") or "")
        local = ref[len(base.rstrip("#")) :] if base and ref.startswith(base.rstrip("#")) else ref
        if local == "":
            local = "#"
        if not local.startswith("#"):
            raise invalid(f"`$ref` {quote(ref)} leads out of the schema.", loc.pointer, param=self.param)
        fragment = unquote(local[1:])
        if fragment and not fragment.startswith("/"):
            return self._anchor(fragment, loc)
        found: Any = self.root.schema
        pointer = ""
        for raw in fragment.split("/")[1:]:
            token = raw.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and token in found:
                found = found[token]
            elif isinstance(found, list) and token.isascii() and token.isdigit() and int(token[:9]) < len(found):
                token = str(int(token[:9]))
                found = found[int(token)]
            else:
                raise invalid(f"`$ref` {quote(ref)} points to nothing.", loc.pointer, param=self.param)
            pointer += f"/{escape(token)}"
        return self._target(Loc(pointer, found))

    def _anchor(self, name: str, loc: Loc) -> Loc:
        for keyword in ("$defs", "definitions"):
            for key, schema in (self.root.keyword(keyword) or {}).items():
                if isinstance(schema, dict) and schema.get("$anchor") == name:
                    return self._target(Loc(f"/{keyword}/{escape(key)}", schema))
        raise invalid(f"`$ref` #{quote(name)} points to nothing.", loc.pointer, param=self.param)

    def _target(self, loc: Loc) -> Loc:
        # A reference may lead to where no schema was expected, and so to something that was not checked yet.
        if loc.pointer not in self._vetted:
            self._check_meta(loc.schema, loc.pointer)
        return loc

    def vet(self, loc: Loc) -> None:
        """Refuse what would be ignored or is contradictory, once per schema, when it is first needed."""
        if loc.pointer in self._vetted or isinstance(loc.schema, bool):
            return
        schema = loc.schema
        for keyword in schema:
            if keyword in SUPPORTED or keyword in ANNOTATIONS or keyword.startswith("x-"):
                continue
            raise unsupported(keyword, loc.pointer, param=self.param)
        if loc.pointer and "$id" in schema:
            raise unsupported("$id", loc.pointer, param=self.param, why="only the outermost schema may have one")
        if "prefixItems" in schema and self.dialect != 2020:
            raise unsupported("prefixItems", loc.pointer, param=self.param, why="it needs draft 2020-12")
        if self.dialect == 2020 and "additionalItems" in schema:
            raise unsupported("additionalItems", loc.pointer, param=self.param, why="draft 2020-12 calls it `items`")
        for low, high in BOUNDS:
            if low in schema and high in schema and schema[low] > schema[high]:
                raise invalid(f"`{low}` is above `{high}`.", loc.pointer, param=self.param)
        if schema.get("enum") == []:
            raise invalid("`enum` is empty, so no value satisfies it.", loc.pointer, param=self.param)
        for pattern in (*schema.get("patternProperties", ()), *([schema["pattern"]] if "pattern" in schema else ())):
            if not is_pattern(pattern):
                raise invalid(f"{quote(pattern)} is no regular expression.", loc.pointer, param=self.param)
        self._vetted.add(loc.pointer)

    def accepts(self, value: Any, locs: Iterable[Loc]) -> bool:
        """Whether a value validates against all these schemas, formats included."""
        depth, nodes = _measure(value)
        for loc in locs:
            if loc.schema is True:
                continue
            # A validator follows every reference each time it is met, which may double at each level.
            if self._weight(loc, depth, ()) * nodes > CHECK_MAX:
                raise TooLarge("its references meet again too often to check its values")
            self.spend(self._check_steps)
            if not self._validator(loc).is_valid(value):
                return False
        return True

    def _weight(self, loc: Loc, depth: int, active: tuple[str, ...]) -> int:
        """How many schemas a validator may look at for a value of this depth; CHECK_MAX stands for all larger numbers."""
        key = (loc.pointer, depth)
        known = self._weights.get(key)
        if known is not None:
            return known
        if loc.pointer in active or not isinstance(loc.schema, dict):
            return 1
        if len(active) > CHAIN_MAX:
            return CHECK_MAX
        self.spend()
        active = (*active, loc.pointer)
        total = 1
        for keyword, value in loc.schema.items():
            below = depth - (keyword not in IN_PLACE)
            if keyword == "$ref":
                total += self._weight(self.resolve(loc), depth, active)
            elif below >= 0 and keyword in SCHEMAS_IN:
                tokens = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
                single = keyword in SCHEMA_IS and not isinstance(value, list)
                children = [self.child(loc, keyword)] if single else [self.child(loc, keyword, token) for token in tokens]
                total += sum(self._weight(child, below, active if below == depth else ()) for child in children)
            if total >= CHECK_MAX:
                break
        total = min(total, CHECK_MAX)
        self._weights[key] = total
        return total

    def _validator(self, loc: Loc) -> Any:
        known = self._validators.get(loc.pointer)
        if known is None:
            self.spend(20)
            known = self._validators[loc.pointer] = self._make_validator(loc)
        return known

    def _make_validator(self, loc: Loc) -> Any:
        make = _validator_class(self.dialect)
        if isinstance(loc.schema, bool) or loc.pointer.startswith("(") or isinstance(self.root.schema, bool):
            return make(loc.schema, pattern_options=_PATTERNS)
        # References inside count from the outermost schema, so this one is reached from there.
        uri = str(self.root.keyword("$id") or "").rstrip("#")
        uri = uri if ":" in uri else "tollway:schema"
        root = {key: value for key, value in self.root.schema.items() if key not in {"$id", "$schema"}}
        schema = {"$ref": f"{uri}#{percent_encoded(loc.pointer, safe='/~')}"}
        try:
            registry = jsonschema_rs.Registry([(uri, root)])
            return make(schema, registry=registry, validate_formats=True, pattern_options=_PATTERNS)
        except (ValueError, jsonschema_rs.ReferencingError):
            raise invalid("validators cannot read it.", loc.pointer, param=self.param) from None

    def _dialect(self, schema: Any) -> int:
        if not isinstance(schema, dict) or "$schema" not in schema:
            return 2020
        dialect = DIALECTS.get(str(schema["$schema"]).rstrip("#"))
        if dialect is None:
            raise unsupported("$schema", "", param=self.param, why="only drafts 2020-12, 2019-09 and 07 are known")
        return dialect

    def _check_size(self, schema: Any) -> None:
        level: list[Any] = [schema]
        nodes = chars = 0
        for _ in range(DEPTH_MAX):
            below: list[Any] = []
            for value in level:
                if isinstance(value, dict):
                    below.extend(value.values())
                    chars += self._check_text("".join(value))
                    self._check_patterns(value)
                elif isinstance(value, list):
                    below.extend(value)
                elif isinstance(value, str):
                    chars += self._check_text(value)
                elif isinstance(value, float) and not math.isfinite(value):
                    raise invalid("it has a number that is not finite.", "", param=self.param)
                elif isinstance(value, int) and value.bit_length() > NUMBER_BITS_MAX:
                    raise invalid("it has a number beyond the range of a double.", "", param=self.param)
            nodes += len(level)
            if nodes > NODES_MAX:
                raise TooLarge(f"it has more than {NODES_MAX} values")
            if chars > TEXT_CHARS_MAX:
                raise TooLarge(f"it has more than {TEXT_CHARS_MAX} characters of text")
            if not below:
                return
            level = below
        raise TooLarge(f"it is nested deeper than {DEPTH_MAX} levels")

    def _check_patterns(self, schema: dict[str, Any]) -> None:
        """Also of what only looks like a schema: anything may be referred to."""
        named = schema.get("patternProperties")
        patterns = [schema.get("pattern"), *(named if isinstance(named, dict) else ())]
        for pattern in patterns:
            if not isinstance(pattern, str):
                continue
            if len(pattern) > PATTERN_CHARS_MAX:
                raise TooLarge(f"it has a pattern of more than {PATTERN_CHARS_MAX} characters")
            if not _is_linear(pattern):
                self._check_steps = BACKTRACKING_STEPS

    def _check_text(self, value: str) -> int:
        """Returns its length."""
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise invalid("it has half a surrogate pair.", "", param=self.param) from None
        return len(value)

    def _check_meta(self, schema: Any, pointer: str) -> None:
        if not isinstance(schema, dict | bool):
            raise invalid("a schema must be an object or a boolean.", pointer, param=self.param)
        body = {key: value for key, value in schema.items() if key != "$schema"} if isinstance(schema, dict) else schema
        error = next(_meta(self.dialect).iter_errors(body), None)
        if error is not None:
            where = pointer + "".join(f"/{escape(str(token))}" for token in error.instance_path)
            raise invalid(f"{quote(error.message)}.", where, param=self.param)


def _measure(value: Any) -> tuple[int, int]:
    """The depth of a value and how many values are in it."""
    level, depth, nodes = [value], 0, 0
    while level:
        nodes += len(level)
        level = [
            child for one in level if isinstance(one, dict | list) for child in (one.values() if isinstance(one, dict) else one)
        ]
        depth += bool(level)
    return depth, nodes
