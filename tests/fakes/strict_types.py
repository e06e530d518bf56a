"""The request types of an SDK, made strict: unknown fields are errors, iterables are lists, numbers are not text."""

from collections.abc import Iterable
from functools import cache
from types import UnionType
from typing import Any, NotRequired, Required, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import ReadOnly, TypedDict, get_type_hints, is_typeddict


@cache
def strict_adapter(kind: Any) -> TypeAdapter[Any]:
    """Validates values of a TypedDict, all the way down."""
    return TypeAdapter(_strict(kind, {}))


def _strict(kind: Any, made: dict[Any, Any]) -> Any:
    if is_typeddict(kind):
        if kind not in made:
            hints = get_type_hints(kind, include_extras=True)
            required = kind.__required_keys__
            fields = {
                name: (Required if name in required else NotRequired)[_strict(_bare(hint), made)]
                for name, hint in hints.items()
            }
            make: Any = TypedDict
            made[kind] = make(kind.__name__, fields)
            made[kind].__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
        return made[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return Union[tuple(_strict(each, made) for each in arguments)]  # noqa: UP007
    if origin is Iterable or getattr(origin, "__name__", "") == "SequenceNotStr":
        return list[_strict(arguments[0], made)]  # type: ignore[misc]
    if origin in (list, dict):
        return origin[tuple(_strict(each, made) for each in arguments)]
    return kind


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (Required, NotRequired, ReadOnly):
        (hint,) = get_args(hint)
    return hint
