"""Whether two branches of a `oneOf` can hold for the same value."""

from dataclasses import dataclass

from tollway.constrain.document import Document
from tollway.constrain.enums import listed
from tollway.constrain.flatten import Conj, Plain, alternatives, types_of
from tollway.constrain.numbers import bounds_of
from tollway.constrain.shapes import ArrayShape, ObjectShape, array_shape, limits, object_shape

DEPTH_MAX = 3


@dataclass(frozen=True)
class Verdict:
    """`apart`: no value satisfies both. Otherwise, leaving out one of the properties `absent` from one excludes the other."""

    apart: bool
    absent: frozenset[str] = frozenset()


def compare(doc: Document, one: Plain, other: Plain, depth: int = 0) -> Verdict:
    """Look for a proof; none found is no proof of the contrary.

    `one` is generated from, so what the generator leaves out of it does not count. `other` must be taken for all it allows.
    """
    doc.spend(5)
    for left, right in ((one, other), (other, one)):
        values = listed(doc, left)
        if values is not None:
            return Verdict(not any(doc.accepts(value, _without_choices(right)) for value in values))
    common = _kinds(one, meant=True) & _kinds(other, meant=False)
    if common & {"object", "array"} and (other.having("unevaluatedProperties") or other.having("unevaluatedItems")):
        return Verdict(apart=False)
    absent: frozenset[str] = frozenset()
    for kind in common:
        if kind == "object":
            mine, theirs = object_shape(doc, one), object_shape(doc, other)
            if _objects_apart(doc, mine, theirs, depth):
                continue
            absent = theirs.required - mine.required
            if absent:
                continue
            return Verdict(apart=False)
        if kind == "number" and bounds_of(one).apart(bounds_of(other)):
            continue
        if kind == "string" and _lengths_apart(limits(one, "minLength", "maxLength"), limits(other, "minLength", "maxLength")):
            continue
        if kind == "array" and _arrays_apart(doc, array_shape(doc, one), array_shape(doc, other), depth):
            continue
        return Verdict(apart=False)
    return Verdict(not absent, absent)


def _without_choices(plain: Plain) -> Conj:
    """The schemas apart from those that hold an undecided `oneOf`: a value that two branches accept is one that these refuse,
    which is what is to be found out.
    """
    holders = {choice.loc.pointer for choice in plain.choices}
    holders |= {pointer for holder in holders for pointer in plain.parents[holder]}
    return tuple(loc for loc in plain.locs if loc.pointer not in holders)


def _kinds(plain: Plain, *, meant: bool) -> set[str]:
    return {"number" if kind == "integer" else kind for kind in types_of(plain, meant=meant)}


def _lengths_apart(one: tuple[int, int | None], other: tuple[int, int | None]) -> bool:
    return (one[1] is not None and one[1] < other[0]) or (other[1] is not None and other[1] < one[0])


def _objects_apart(doc: Document, one: ObjectShape, other: ObjectShape, depth: int) -> bool:
    if any(other.forbids(name) for name in one.required) or any(one.forbids(name) for name in other.required):
        return True
    if _lengths_apart((one.low, one.high), (other.low, other.high)):
        return True
    shared = [name for name in one.properties if name in one.required and name in other.required and name in other.properties]
    return any(_values_apart(doc, one.properties[name], other.properties[name], depth) for name in shared)


def _arrays_apart(doc: Document, one: ArrayShape, other: ArrayShape, depth: int) -> bool:
    if _lengths_apart((one.low, one.high), (other.low, other.high)):
        return True
    both = min(one.low, other.low, max(len(one.prefix), len(other.prefix), 1))
    return any(_values_apart(doc, one.at(index), other.at(index), depth) for index in range(both))


def _values_apart(doc: Document, one: Conj, other: Conj, depth: int) -> bool:
    if depth >= DEPTH_MAX:
        return False
    rights = list(alternatives(doc, other))
    return all(compare(doc, left, right, depth + 1).apart for left in alternatives(doc, one) for right in rights)
