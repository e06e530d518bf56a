"""What may stand at a place of a body, for errors that tell it."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from msgspec import inspect

_STEP = re.compile(r"\[|[^.\[\]]+(?=[.\[]|$)")
"""Of a path such as `messages[0].role`: a field, or a bracket for any entry of a list or an object."""

_type_info = lru_cache(inspect.type_info)


def allowed_at(kind: Any, path: str) -> list[str]:
    """The words of the Literal, or the tags of the structs, at a path into a body of this type.

    Empty where there are none, and where they differ among the structs that the path may lead through: it does not tell which.
    """
    *way, last = _STEP.findall(path) or [""]
    found = {frozenset(words) for place in _places(kind, way) for words in _words(place, last) if words}
    return sorted(found.pop()) if len(found) == 1 else []


def description_at(kind: Any, path: str) -> str:
    """The first description of what is at a path; "" where there is none."""
    notes = [
        place.extra_json_schema or {} for place in _places(kind, _STEP.findall(path)) if isinstance(place, inspect.Metadata)
    ]
    return next((str(note["description"]) for note in notes if "description" in note), "")


def _places(kind: Any, steps: list[str]) -> list[inspect.Type]:
    places = [_type_info(kind)]
    for step in steps:
        places = [inside for place in places for inside in _inside(place, step)]
    return places


def _words(place: inspect.Type, last: str) -> Iterator[list[str]]:
    yield [str(each.tag) for each in _each(place) if isinstance(each, inspect.StructType) and each.tag_field == last]
    for inside in _inside(place, last):
        yield [str(value) for each in _each(inside) if isinstance(each, inspect.LiteralType) for value in each.values]


def _inside(place: inspect.Type, step: str) -> Iterator[inspect.Type]:
    for each in _each(place):
        if isinstance(each, inspect.StructType):
            yield from (field.type for field in each.fields if field.encode_name == step)
        elif isinstance(each, inspect.ListType) and step == "[":
            yield each.item_type
        elif isinstance(each, inspect.DictType) and step == "[":
            yield each.value_type


def _each(place: inspect.Type) -> Iterator[inspect.Type]:
    """The types that a union has, or the one that it is."""
    if isinstance(place, inspect.Metadata):
        yield from _each(place.type)
    elif isinstance(place, inspect.UnionType):
        for each in place.types:
            yield from _each(each)
    else:
        yield place
