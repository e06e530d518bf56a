"""What a plain conjunction says about objects and arrays, merged: per member, the conjunction that its value must satisfy."""

from dataclasses import dataclass

from tollway.constrain.document import Document, Loc, has_pattern
from tollway.constrain.flatten import Conj, Plain

NEVER = Loc("(left out)", False)


@dataclass(frozen=True)
class ObjectShape:
    """`others` is the conjunction for names that are not in `properties`; `patterns` adds to it for names that match."""

    properties: dict[str, Conj]
    required: frozenset[str]
    low: int
    high: int | None
    others: Conj
    names: Conj
    patterns: tuple[Loc, ...]

    def forbids(self, name: str) -> bool:
        """Whether no value at all may have this property. A name that a pattern may allow counts as allowed."""
        if self.patterns and name not in self.properties:
            return False
        conj = self.properties.get(name, self.others)
        return any(loc.schema is False for loc in conj)


@dataclass(frozen=True)
class ArrayShape:
    """`prefix` are the first items' conjunctions, `rest` is that of all others."""

    prefix: tuple[Conj, ...]
    rest: Conj
    low: int
    high: int | None
    unique: bool

    def at(self, index: int) -> Conj:
        return self.prefix[index] if index < len(self.prefix) else self.rest


def limits(plain: Plain, low: str, high: str) -> tuple[int, int | None]:
    highs = [int(value) for value in plain.values(high)]
    return max([0, *(int(value) for value in plain.values(low))]), min(highs) if highs else None


def object_shape(doc: Document, plain: Plain) -> ObjectShape:
    required = dict.fromkeys(name for names in plain.values("required") for name in names)
    declared = dict.fromkeys(name for properties in plain.values("properties") for name in properties)
    low, high = limits(plain, "minProperties", "maxProperties")
    doc.spend(len(plain.locs) * (1 + len(declared) // 8))
    names = tuple(doc.child(loc, "propertyNames") for loc in plain.having("propertyNames"))
    patterns = tuple(
        doc.child(loc, "patternProperties", pattern)
        for loc in plain.having("patternProperties")
        for pattern in loc.keyword("patternProperties")
    )
    properties: dict[str, Conj] = {}
    for name in (declared | required) | dict.fromkeys(plain.absent):
        if name in plain.absent or (names and not doc.accepts(name, names)):
            properties[name] = (NEVER,)
        else:
            properties[name] = _member(doc, plain, name)
    return ObjectShape(properties, frozenset(required), low, high, _others(doc, plain), names, patterns)


def _member(doc: Document, plain: Plain, name: str) -> Conj:
    """All that must hold for the value of a property."""
    out: list[Loc] = []
    for loc in plain.locs:
        covered = False
        if name in (loc.keyword("properties") or ()):
            out.append(doc.child(loc, "properties", name))
            covered = True
        for pattern in loc.keyword("patternProperties") or ():
            if has_pattern(pattern, name):
                out.append(doc.child(loc, "patternProperties", pattern))
                covered = True
        if not covered and loc.keyword("additionalProperties") is not None:
            out.append(doc.child(loc, "additionalProperties"))
        if loc.keyword("unevaluatedProperties") is not None and not _evaluated(plain, loc, name):
            out.append(doc.child(loc, "unevaluatedProperties"))
    return tuple(out)


def _below(plain: Plain, top: Loc) -> list[Loc]:
    """The schema itself and those that it refers to in place. What `unevaluated...` looks at."""
    return [loc for loc in plain.locs if loc.pointer == top.pointer or top.pointer in plain.parents[loc.pointer]]


def _evaluated(plain: Plain, top: Loc, name: str) -> bool:
    return any(
        name in (loc.keyword("properties") or ()) or loc.keyword("additionalProperties") is not None
        for loc in _below(plain, top)
    )


def _others(doc: Document, plain: Plain) -> Conj:
    out = [doc.child(loc, "additionalProperties") for loc in plain.having("additionalProperties")]
    out += [
        doc.child(loc, "unevaluatedProperties")
        for loc in plain.having("unevaluatedProperties")
        if all(below.keyword("additionalProperties") is None for below in _below(plain, loc))
    ]
    return tuple(out)


def array_shape(doc: Document, plain: Plain) -> ArrayShape:
    parts = [_items(doc, plain, loc) for loc in plain.locs]
    length = max((len(prefix) for prefix, _ in parts), default=0)
    doc.spend(length)
    merged = tuple(
        tuple(one for prefix, rest in parts for one in (prefix[index : index + 1] or rest)) for index in range(length)
    )
    low, high = limits(plain, "minItems", "maxItems")
    rest = tuple(one for _, rest in parts for one in rest)
    return ArrayShape(merged, rest, low, high, unique=True in plain.values("uniqueItems"))


def _items(doc: Document, plain: Plain, loc: Loc) -> tuple[Conj, Conj]:
    """What one schema says of the first items and of the rest."""
    items = loc.keyword("items")
    rest: list[Loc] = []
    if isinstance(items, list):  # drafts before 2020-12
        prefix = tuple(doc.children(loc, "items"))
        if loc.keyword("additionalItems") is not None:
            rest.append(doc.child(loc, "additionalItems"))
    else:
        prefix = tuple(doc.children(loc, "prefixItems"))
        if items is not None:
            rest.append(doc.child(loc, "items"))
    below = _below(plain, loc) if loc.keyword("unevaluatedItems") is not None else []
    if below and not any(one.keyword("items") is not None or one.keyword("additionalItems") is not None for one in below):
        rest.append(doc.child(loc, "unevaluatedItems"))
        # What another schema's prefix evaluates counts as evaluated only position by position; staying short is safe.
    return prefix, tuple(rest)
