"""Schemas as alternatives of plain conjunctions: `$ref`, `allOf`, `anyOf` and `oneOf` resolved.

A *conjunction* is a tuple of schemas (`Loc`) that one value must satisfy together. A *plain* one has been followed through
its references and has one branch chosen at each `anyOf` and `oneOf`; what remains to look at are the other keywords.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tollway.constrain.document import CHAIN_MAX, Document, Loc
from tollway.constrain.problems import TooLarge, invalid

TYPES = ("string", "integer", "number", "boolean", "null", "object", "array")
# A schema without `type` that has keywords of one type only means that type; other values would satisfy it too, but nobody
# wants them. Numbers include integers.
KEYWORDS_OF = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "contentEncoding"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "object": frozenset(
        {
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "maxProperties",
            "patternProperties",
            "propertyNames",
            "unevaluatedProperties",
        }
    ),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "unevaluatedItems", "additionalItems"}),
}

Conj = tuple[Loc, ...]


@dataclass(frozen=True)
class Choice:
    """Which branch of a `oneOf` a plain conjunction took; the others must be shown not to hold."""

    loc: Loc
    index: int


@dataclass(frozen=True)
class Plain:
    """A conjunction to generate from, with the path on which each schema was reached."""

    locs: Conj
    parents: dict[str, frozenset[str]]
    choices: tuple[Choice, ...] = ()
    absent: frozenset[str] = frozenset()

    def having(self, keyword: str) -> list[Loc]:
        return [loc for loc in self.locs if isinstance(loc.schema, dict) and keyword in loc.schema]

    def values(self, keyword: str) -> list[Any]:
        return [loc.keyword(keyword) for loc in self.having(keyword)]


@dataclass(frozen=True)
class _State:
    locs: dict[str, Loc] = field(default_factory=dict)
    parents: dict[str, frozenset[str]] = field(default_factory=dict)
    groups: tuple[tuple[str, Loc, frozenset[str]], ...] = ()
    choices: tuple[Choice, ...] = ()


def alternatives(doc: Document, conj: Conj) -> Iterator[Plain]:
    """All plain conjunctions, one of which holds exactly if `conj` holds (leaving aside that `oneOf` excludes others)."""
    state: _State | None = _State()
    for loc in conj:
        state = state and _visit(doc, loc, frozenset(), state)
    if state is not None:
        yield from _choose(doc, state, 0)


def _visit(doc: Document, loc: Loc, active: frozenset[str], state: _State) -> _State | None:
    """The state with this schema added, or None if it is `false`. Does not change `state`."""
    doc.spend(1 + len(state.locs) // 8)
    if loc.pointer in active:
        raise invalid("it refers to itself without an object or array in between.", loc.pointer, param=doc.param)
    if loc.schema is False:
        return None
    if loc.schema is True or loc.pointer in state.locs:
        return state
    if len(active) > CHAIN_MAX:
        raise TooLarge(f"it has more than {CHAIN_MAX} references or combinators in a row")
    doc.vet(loc)
    inner = active | {loc.pointer}
    groups = state.groups
    for kind in ("anyOf", "oneOf"):
        if loc.keyword(kind):
            groups += ((kind, loc, inner),)
    result: _State | None = _State(
        {**state.locs, loc.pointer: loc}, {**state.parents, loc.pointer: active}, groups, state.choices
    )
    if loc.keyword("$ref") is not None:
        result = _visit(doc, doc.resolve(loc), inner, result) if result else None
    for part in doc.children(loc, "allOf"):
        result = _visit(doc, part, inner, result) if result else None
    return result


def _choose(doc: Document, state: _State, depth: int) -> Iterator[Plain]:
    if not state.groups:
        yield Plain(tuple(state.locs.values()), state.parents, state.choices)
        return
    if depth > CHAIN_MAX:
        raise TooLarge(f"it has more than {CHAIN_MAX} combinators in a row")
    (kind, loc, active), *rest = state.groups
    for index, branch in enumerate(doc.children(loc, kind)):
        chosen = (Choice(loc, index),) if kind == "oneOf" and len(loc.keyword(kind)) > 1 else ()
        entered = _State(state.locs, state.parents, tuple(rest), state.choices + chosen)
        result = _visit(doc, branch, active, entered)
        if result is not None:
            yield from _choose(doc, result, depth + 1)


def types_of(plain: Plain, *, meant: bool = True) -> list[str]:
    """The JSON types that satisfy a conjunction, `number` standing for integers too; with `meant`, only those to generate."""
    allowed = set(TYPES)
    typed = False
    for value in plain.values("type"):
        typed = True
        names = {value} if isinstance(value, str) else set(value)
        if "number" in names:
            names.add("integer")
        allowed &= names
    if meant and not typed:
        present = {key for loc in plain.locs if isinstance(loc.schema, dict) for key in loc.schema}
        allowed &= {name for name, keywords in KEYWORDS_OF.items() if keywords & present} or allowed
    if "number" in allowed:
        allowed.discard("integer")
    return [name for name in TYPES if name in allowed]
