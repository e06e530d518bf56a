r"""Regular expressions of `pattern`, read as ECMA-262 with Unicode characters.

Validators differ on what `\d`, `\w`, `\s` and `.` match beyond ASCII. Each character set is therefore kept as two: `inner` is
what every dialect matches and may be generated; `outer` is what some dialect matches, which a negation must stay out of.
"""

from dataclasses import dataclass

from tollway.constrain.charset import EVERY, complement, intersect, union
from tollway.constrain.gbnf import Ranges

PATTERN_CHARS_MAX = 2_000
DEPTH_MAX = 40


class BadPattern(Exception):
    """It is no regular expression; the message says why."""


class HardPattern(Exception):
    """It is one, with something that a grammar has no counterpart for; the message names it."""


@dataclass(frozen=True)
class Chars:
    """One character."""

    inner: Ranges
    outer: Ranges


@dataclass(frozen=True)
class Anchor:
    """`^` or `$`."""

    char: str


@dataclass(frozen=True)
class Cat:
    """One after another."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Alt:
    """One of these."""

    options: "tuple[Node, ...]"


@dataclass(frozen=True)
class Rep:
    """`low` to `high` times; None = without bound."""

    node: "Node"
    low: int
    high: int | None


Node = Chars | Anchor | Cat | Alt | Rep


def _of(*pairs: str) -> Ranges:
    return union((ord(pair[0]), ord(pair[-1])) for pair in pairs)


WORD = _of("az", "AZ", "09", "_")
# White space of ECMA-262, Python and Unicode together; what all agree on is less.
SPACES = union(
    ((9, 13), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    ((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
BEYOND_ASCII = ((0x80, 0x10FFFF),)
SETS = {
    "d": Chars(_of("09"), union(_of("09"), BEYOND_ASCII)),
    "w": Chars(WORD, union(WORD, BEYOND_ASCII)),
    "s": Chars(union(((9, 10), (12, 13), (0x20, 0x20))), SPACES),
}
PROPERTIES = {
    "L": Chars(union(_of("az", "AZ", "ÀÖ", "Øö", "øɏ", "АЯ", "ая")), complement(((0, 0x40),))),
    "Lu": Chars(_of("AZ"), complement(((0, 0x40), (0x61, 0x7A)))),
    "Ll": Chars(_of("az"), complement(((0, 0x60),))),
    "N": Chars(_of("09"), union(_of("09"), BEYOND_ASCII)),
    "Nd": Chars(_of("09"), union(_of("09"), BEYOND_ASCII)),
}
CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
DOT = Chars(complement(((10, 10), (13, 13), (0x2028, 0x2029))), complement(((10, 10),)))
ANY = Chars(EVERY, EVERY)


def negated(chars: Chars) -> Chars:
    return Chars(complement(chars.outer), complement(chars.inner))


def _single(code: int) -> Chars:
    return Chars(((code, code),), ((code, code),))


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises BadPattern and HardPattern."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise HardPattern(f"it is longer than {PATTERN_CHARS_MAX} characters")
    parser = _Parser(pattern)
    node = parser.alternatives(0)
    if parser.at < len(pattern):
        raise BadPattern("unbalanced parenthesis")
    return node


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        return self.pattern[self.at + ahead : self.at + ahead + 1]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise BadPattern("it ends too early")
        self.at += 1
        return char

    def skip(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def alternatives(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise HardPattern(f"its groups are nested deeper than {DEPTH_MAX}")
        options = [self._sequence(depth)]
        while self.skip("|"):
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Alt(tuple(options))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self._quantified(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Cat(tuple(parts))

    def _quantified(self, node: Node) -> Node:
        counts = self._quantifier()
        if counts is None:
            return node
        if isinstance(node, Anchor):
            raise BadPattern("nothing to repeat")
        low, high = counts
        if high is not None and high < low:
            raise BadPattern("a quantifier with its numbers out of order")
        self.skip("?")  # whether it is lazy does not change what it matches
        if self._quantifier() is not None:
            raise BadPattern("nothing to repeat")
        return Rep(node, low, high)

    def _quantifier(self) -> tuple[int, int | None] | None:
        for char, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.skip(char):
                return counts
        if self.peek() != "{":
            return None
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : max(end, self.at)].partition(",")
        if not _is_count(low) or (high and not _is_count(high)):
            raise BadPattern("a brace that is no quantifier; write `\\{`")
        self.at = end + 1
        return int(low), (int(high) if high else None) if comma else int(low)

    def _atom(self, depth: int) -> Node:
        char = self.take()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._class()
        if char in "^$":
            return Anchor(char)
        if char == ".":
            return DOT
        if char == "\\":
            return self._escape(in_class=False)
        if char in "*+?{":
            raise BadPattern("nothing to repeat")
        return _single(ord(char))

    def _group(self, depth: int) -> Node:
        if self.skip("?"):
            if self.peek() in {"=", "!"} or self.pattern[self.at : self.at + 2] in {"<=", "<!"}:
                raise HardPattern("it looks ahead or behind")
            if self.skip("<"):
                name, closed, _ = self.pattern[self.at :].partition(">")
                if not closed or not name.isidentifier():
                    raise BadPattern("a group with a bad name")
                self.at += len(name) + 1
            elif not self.skip(":"):
                raise HardPattern("it has a group of an unknown kind")
        node = self.alternatives(depth + 1)
        if not self.skip(")"):
            raise BadPattern("unbalanced parenthesis")
        return node

    def _class(self) -> Chars:
        negate = self.skip("^")
        inner: list[Ranges] = []
        outer: list[Ranges] = []
        if self.peek() == "]":
            raise HardPattern("it has an empty character class")
        while not self.skip("]"):
            item = self._class_item()
            if self.peek() == "-" and self.peek(1) not in {"]", ""}:
                self.at += 1
                last = self._class_item()
                if not _is_single(item) or not _is_single(last) or item.inner > last.inner:
                    raise BadPattern("a character range out of order")
                span = intersect(((item.inner[0][0], last.inner[0][0]),), EVERY)
                item = Chars(span, span)
            inner.append(item.inner)
            outer.append(item.outer)
        chars = Chars(union(*inner), union(*outer))
        return negated(chars) if negate else chars

    def _class_item(self) -> Chars:
        char = self.take()
        if char == "\\":
            node = self._escape(in_class=True)
            assert isinstance(node, Chars)  # noqa: S101 - there are no anchors in a class
            return node
        if char == "[" or (char in "&~-" and self.peek() == char):
            raise HardPattern(f"`{char}` in a character class means different things; write `\\{char}`")
        return _single(ord(char))

    def _escape(self, *, in_class: bool) -> Node:
        char = self.take()
        if char.lower() in SETS:
            return SETS[char] if char in SETS else negated(SETS[char.lower()])
        if char in CONTROLS:
            return _single(CONTROLS[char])
        if char in "pP":
            return self._property(negate=char == "P")
        if char in "xu":
            return _single(self._code_point(char))
        if char == "b" and in_class:
            return _single(8)
        if char.isascii() and char.isdigit():
            raise HardPattern("it has a back reference")
        if char in "bB":
            raise HardPattern("it has a word boundary")
        if char.isascii() and char.isalpha():
            raise HardPattern(f"it has `\\{char}`")
        if char in "<>" or not char.isascii():
            raise HardPattern(f"`\\{char}` means different things; write `{char}`")
        return _single(ord(char))

    def _property(self, *, negate: bool) -> Chars:
        name, closed, _ = self.pattern[self.at :].partition("}")
        if not closed or not name.startswith("{"):
            raise BadPattern("a property without a name")
        self.at += len(name) + 1
        known = PROPERTIES.get(name[1:])
        if known is None:
            raise HardPattern(f"it has `\\p{name}}}`")
        return negated(known) if negate else known

    def _code_point(self, kind: str) -> int:
        if kind == "u" and self.skip("{"):
            digits, closed, _ = self.pattern[self.at :].partition("}")
            self.at += len(digits) + 1
            code = _hex(digits) if closed and len(digits) <= 6 else -1
        else:
            count = 2 if kind == "x" else 4
            digits = self.pattern[self.at : self.at + count]
            self.at += count
            code = _hex(digits) if len(digits) == count else -1
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code < 0xE000:
            raise BadPattern("an escape that is no character")
        return code


def _hex(digits: str) -> int:
    return int(digits, 16) if digits and all(digit in "0123456789abcdefABCDEF" for digit in digits) else -1


def _is_count(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 6


def _is_single(chars: Chars) -> bool:
    return chars.inner == chars.outer and len(chars.inner) == 1 and chars.inner[0][0] == chars.inner[0][1]
