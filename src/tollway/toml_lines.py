"""Where in a TOML file something stands: tomllib does not say. Best effort, for error messages only."""

import re

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


class TomlLines:
    """The lines of tables and keys of one file."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._places: dict[Path, int] = {}
        table: Path = ()
        counts: dict[Path, int] = {}
        for number, line in enumerate(self._lines, start=1):
            if match := _HEADER.match(line):
                table = self._table(_parts(match[2]), counts, is_array=match[1] == "[[")
                for length in range(len(table), 0, -1):  # a header also begins the tables around its own
                    self._places.setdefault(table[:length], number)
            elif match := _KEY.match(line):
                self._places.setdefault((*table, *_parts(match[1])), number)

    def find(self, path: Path) -> int | None:
        """The line of a table or key, else of the closest thing around it, counted from 1. None = nowhere near."""
        for length in range(len(path), 0, -1):
            if (place := self._places.get(path[:length])) is not None:
                return self._inside(place, path[length:]) if length < len(path) else place
        return None

    def _table(self, parts: Path, counts: dict[Path, int], *, is_array: bool) -> Path:
        """The header's full path: an array's name is followed by the number of its table, from 0."""
        path: Path = ()
        for position, part in enumerate(parts):
            path = (*path, part)
            if is_array and position == len(parts) - 1:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        return path

    def _inside(self, place: int, rest: Path) -> int:
        """Follows `routes = [{...}, {...}]` from its key's line on. An inline table is on one line, all that is in it too."""
        if not isinstance(rest[0], int):
            return place
        begun = 0
        for number, line in enumerate(self._lines[place - 1 :], start=place):
            if number > place and (_HEADER.match(line) or _KEY.match(line)):
                break
            begun += _tables_on(line)
            if begun > rest[0]:
                return number
        return place


def _tables_on(line: str) -> int:
    """How many inline tables a line has, without those inside of others."""
    count = depth = 0
    for character in line:
        count += character == "{" and depth == 0
        depth += {"{": 1, "}": -1}.get(character, 0)
    return count


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
