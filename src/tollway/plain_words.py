"""What msgspec finds wrong with a value that a person wrote, in that person's words."""

import re
import typing
from typing import Any

import msgspec

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
_BOUNDS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}
_OTHER_KIND = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_OUT_OF_BOUNDS = re.compile(r"Expected `(\w+)`( of length)? (<=|>=|<|>) (\S+)")
_NO_SUCH_WORD = re.compile(r"Invalid enum value (.+)")


def plain_words(error: msgspec.ValidationError, kind: Any) -> str:
    """What is wrong with a value that was to be a `kind`, and what it may be; it begins small and has no full stop."""
    said = str(error).split(" - at ")[0]
    allowed = ", ".join(f"`{word}`" for word in _words_in(kind))
    if " matching regex " in said:  # nothing for people; what the field is says more
        return f"that cannot be. {_description(kind)}".strip().rstrip(".")
    if match := _OTHER_KIND.fullmatch(said):
        found = "a number with a decimal point" if match[2] == "float" else _kind(match[2])
        said = f"must be {' or '.join(_kind(name) for name in match[1].split(' | ') if name != 'null')}, not {found}"
    elif said == "Expected `str` of length >= 1":
        said = "must not be empty"
    elif match := _OUT_OF_BOUNDS.fullmatch(said):
        unit = {"str": " characters long", "array": " entries"}.get(match[1], "") if match[2] else ""
        said = f"must be {_BOUNDS[match[3]]} {match[4].removesuffix('.0')}{unit}"
    elif match := _NO_SUCH_WORD.fullmatch(said):
        said = f"{match[1]} is no word for it"
    return f"{said}. It may be {allowed}" if allowed else said


def _kind(name: str) -> str:
    return _KINDS.get(name, f"`{name}`")


def _words_in(kind: Any) -> list[str]:
    """The words of a Literal, wherever it is in the type."""
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    return [word for each in typing.get_args(kind) for word in _words_in(each)]


def _description(kind: Any) -> str:
    """The first one, wherever it is in the type."""
    own = [meta.description for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return next(filter(None, [*own, *map(_description, typing.get_args(kind))]), "")
