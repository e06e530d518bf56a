"""Tables of a TOML file into Structs, with every problem named by file, line, field and fix."""

import difflib
import math
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tollway.plain_words import plain_words
from tollway.toml_lines import Path as TomlPath
from tollway.toml_lines import TomlLines

_SECRETS = frozenset({"key", "api_key", "apikey", "token", "access_token", "secret", "password", "authorization", "bearer"})
NO_KEYS_HERE = (
    "keys do not belong in this file. Put it into an environment variable and write that one's name, "
    '`key_variable = "ACME_API_KEY"`, or into a file of its own: `key_file = "acme.key"`.'
)

S = TypeVar("S", bound=Struct)


class TableReader:
    """Reads one file's tables and collects what is wrong with them. No message repeats what might be a key."""

    def __init__(self, file: Path, text: str) -> None:
        self.problems: list[str] = []
        self._file = file
        self._lines = TomlLines(text)

    def problem(self, path: TomlPath, text: str) -> None:
        line = self._lines.find(path)
        self.problems.append(f"{self._file}{f':{line}' if line else ''}: {dotted(path)}: {text}")

    def read(self, path: TomlPath, value: Any, kind: type[S]) -> S | None:
        """The table as a `kind`; None where it has problems, which are then collected."""
        if not isinstance(value, dict):
            self.problem(path, f"must be a table, `{{ name = value }}`, not {_kind_of(value)}.")
            return None
        before = len(self.problems)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        given: dict[str, Any] = {}
        for name, item in value.items():
            if name not in fields:
                self.problem((*path, name), unknown(name, fields))
            else:
                given[name] = self._field((*path, name), item, fields[name].type)
        for name, field in fields.items():
            if field.required and name not in value:
                self.problem(path, f"`{name}` is missing.")
        if len(self.problems) > before:
            return None
        try:
            return kind(**given)
        except ValueError as error:  # what the Struct itself says
            self.problem(path, f"{error}.")
            return None

    def _field(self, path: TomlPath, value: Any, kind: Any) -> Any:
        nested = _struct_in(kind)
        if nested is not None and typing.get_origin(kind) is tuple:
            if not isinstance(value, list):
                self.problem(path, f"must be a list of tables, `[{{ ... }}]`, not {_kind_of(value)}.")
                return ()
            return tuple(self.read((*path, position), item, nested) for position, item in enumerate(value))
        if nested is not None:
            return self.read(path, value, nested)
        if isinstance(value, float) and not math.isfinite(value):
            self.problem(path, f"must be a finite number, not {value}.")
            return None
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            self.problem(path, f"{plain_words(error, kind)}.")
            return None


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a field that does not exist."""
    known = sorted(known)
    if name.lower() in _SECRETS:
        return NO_KEYS_HERE
    return f"there is no such field. {closest(name, known) or 'There are ' + ', '.join(known) + '.'}"


def closest(name: str, known: Iterable[str]) -> str:
    """`Did you mean ...?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else ""


def dotted(path: TomlPath) -> str:
    """`models[0].routes[1].weight`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _struct_in(kind: Any) -> type[Struct] | None:
    """The Struct that a field holds: itself, one of a union, or the items of a tuple."""
    for each in (kind, *typing.get_args(kind)):
        if isinstance(each, type) and issubclass(each, Struct):
            return each
    return None


def _kind_of(value: Any) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), "a value of another kind")
